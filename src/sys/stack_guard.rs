//! A stack's guard page, which nobody here asks for.

/// In the place of glibc's, with which std looks for a stack's guard page to name an overflow in its
/// message. That one reads /proc/self/maps by sscanf, which costs a static binary 100 KB.
// SAFETY: as pthread_getattr_np(3) may, it gives an error number and leaves the attributes alone.
#[unsafe(no_mangle)]
extern "C" fn pthread_getattr_np(_: libc::pthread_t, _: *mut libc::pthread_attr_t) -> libc::c_int {
    libc::ENOSYS
}
