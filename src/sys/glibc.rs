//! Parts of glibc that nothing here uses, in a few words, so that the release binary need not bear them.
//!
//! A static binary gets from libc.a whatever is referred to by what it gets: malloc refers to stdio
//! (malloc_info), stdio to locales, those to iconv, iconv to the loader of shared objects; starting a
//! thread refers to the resolver, and a panic to a reader of debug information. That is more than half
//! a megabyte which never runs. Each symbol below is one such reference: the linker takes ours
//! and leaves glibc's, with all behind it, in the archive. Tried with glibc 2.36, 2.41 and 2.43; where
//! another one refers to something else, the binary is larger, or does not link (.cargo/release.ld).
//!
//! The rule for this file: what is here must be right for a static program in which all code but
//! glibc's own is Rust: no C stdio, no locales, no shared objects, no host names, panics that abort.

use std::ffi::{CStr, c_char, c_int, c_long, c_void};

use nix::errno::Errno;

/// Functions that have nothing to do, and return 0.
macro_rules! nothing {
    ($($name:ident)*) => { $(
        // SAFETY: a C caller may pass arguments that are not taken, and what it gets is a valid
        // answer: nothing was written, or nobody looks at it.
        #[unsafe(no_mangle)]
        extern "C" fn $name() -> usize { 0 }
    )* };
}

/// Functions that are never called.
macro_rules! never {
    ($($name:ident)*) => { $(
        // SAFETY: it does not return.
        #[unsafe(no_mangle)]
        extern "C" fn $name() -> ! { std::process::abort() }
    )* };
}

// stdio: asked by malloc for its statistics, and by thread creation for locks of files.
nothing! { fprintf __fprintf_chk fwrite _IO_fputs _IO_enable_locks }

/// The stream that malloc's statistics would go to. There is none.
// SAFETY: only the functions above would get it.
#[unsafe(no_mangle)]
#[allow(non_upper_case_globals)]
static stderr: usize = 0;

// The search path for shared objects; the locale's tables for isalpha(3) and the like.
nothing! { _dl_init_paths __ctype_init }

// The resolver's state, which a thread that ends would give back if it had any.
never! { __res_vinit __res_iclose }

/// A backtrace ends where it begins. That frees std from its reader of debug information, which is
/// 190 KB large.
// SAFETY: it does not call the function that it is given, as on an empty stack.
#[unsafe(no_mangle)]
extern "C" fn _Unwind_Backtrace(_: *mut c_void, _: *mut c_void) -> c_int {
    const URC_END_OF_STACK: c_int = 5;
    URC_END_OF_STACK
}

/// With it std would find a stack's guard page, to name an overflow in its message. glibc's reads
/// /proc/self/maps by sscanf(3).
// SAFETY: as pthread_getattr_np(3) may, it gives an error number and leaves the attributes alone.
#[unsafe(no_mangle)]
extern "C" fn pthread_getattr_np(_: libc::pthread_t, _: *mut libc::pthread_attr_t) -> c_int {
    libc::ENOSYS
}

/// std asks by name for what this libc might not have. In a static binary no name is found.
// SAFETY: as dlsym(3) does for a name that nothing has, it gives a null pointer.
#[unsafe(no_mangle)]
extern "C" fn dlsym(_: *mut c_void, _: *const c_char) -> *mut c_void {
    std::ptr::null_mut()
}

/// Names the calling thread; std names no other. glibc's makes the path of another's by sprintf(3).
// SAFETY: as pthread_setname_np(3) does, it passes the caller's string on to the kernel.
#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_setname_np(_: libc::pthread_t, name: *const c_char) -> c_int {
    // SAFETY: the caller gives a string; PR_SET_NAME reads it, up to 16 bytes.
    match unsafe { libc::prctl(libc::PR_SET_NAME, name) } {
        0 => 0,
        _ => Errno::last_raw(),
    }
}

/// For names that glibc makes of numbers, such as that of a thread's stack: they are empty.
// SAFETY: as snprintf(3) does, it writes a string into the caller's buffer, if that has room.
#[unsafe(no_mangle)]
unsafe extern "C" fn __snprintf(buffer: *mut c_char, size: usize) -> c_int {
    if size > 0 {
        // SAFETY: the caller gives a buffer of that size.
        unsafe { buffer.write(0) };
    }
    0
}

/// The words for an error number, which glibc would translate into the user's language.
// SAFETY: as strerror_r(3) does by POSIX, it writes a string into the caller's buffer, if that has room.
#[unsafe(no_mangle)]
unsafe extern "C" fn __xpg_strerror_r(errno: c_int, buffer: *mut c_char, size: usize) -> c_int {
    let words = Errno::from_raw(errno).desc();
    if size <= words.len() {
        return libc::ERANGE;
    }
    // SAFETY: the caller gives a buffer of that size; it has room for the words and a 0.
    unsafe {
        words.as_ptr().copy_to_nonoverlapping(buffer.cast(), words.len());
        buffer.add(words.len()).write(0);
    }
    0
}

/// The same, for glibc's own messages before it gives up.
// SAFETY: as strerror_r(3) may by GNU, it gives a string of its own, which the caller does not write to.
#[unsafe(no_mangle)]
extern "C" fn __strerror_r(_: c_int, _: *mut c_char, _: usize) -> *const c_char {
    c"see errno(3)".as_ptr()
}

/// Where glibc finds itself in a state that can't be: says so, and ends.
// SAFETY: it reads the string that the caller gives, and does not return.
#[unsafe(no_mangle)]
unsafe extern "C" fn __assert_fail(expression: *const c_char) -> ! {
    // SAFETY: glibc gives the expression as a string; write(2) reads no more than is there.
    unsafe {
        let bytes = CStr::from_ptr(expression).to_bytes_with_nul();
        libc::write(libc::STDERR_FILENO, bytes.as_ptr().cast(), bytes.len());
    }
    std::process::abort()
}

/// Compares at most so many bytes of two strings. Of this, [`strcmp`] and [`strncpy`] glibc has one for each
/// generation of processors, 40 KB in all; what asks for them here are names, some at the start.
// SAFETY: as strncmp(3) does, it reads neither beyond the end of a string nor beyond `most` bytes.
#[unsafe(no_mangle)]
unsafe extern "C" fn strncmp(one: *const c_char, other: *const c_char, most: usize) -> c_int {
    for at in 0..most {
        // SAFETY: the caller gives strings, or so many bytes; neither has ended before.
        let [a, b] = [one, other].map(|string| unsafe { string.add(at).cast::<u8>().read() });
        if a != b || a == 0 {
            return c_int::from(a) - c_int::from(b);
        }
    }
    0
}

/// Compares two strings.
// SAFETY: as strcmp(3) does, it reads none beyond its end.
#[unsafe(no_mangle)]
unsafe extern "C" fn strcmp(one: *const c_char, other: *const c_char) -> c_int {
    // SAFETY: the caller gives strings.
    unsafe { strncmp(one, other, usize::MAX) }
}

/// Copies at most so many bytes of a string; what is left of them is zeros.
// SAFETY: as strncpy(3) does, it writes that many bytes, and reads none beyond the end of the string.
#[unsafe(no_mangle)]
unsafe extern "C" fn strncpy(to: *mut c_char, from: *const c_char, most: usize) -> *mut c_char {
    let mut ended = false;
    for at in 0..most {
        // SAFETY: the caller gives a string, which has not ended before, and room for so many bytes.
        unsafe {
            let byte = if ended { 0 } else { from.add(at).read() };
            to.add(at).write(byte);
            ended = byte == 0;
        }
    }
    to
}

/// The two things about the system that are asked here: the size of a page, and how many processors
/// there are (by malloc, which takes it for a hint).
// SAFETY: as sysconf(3) does, it gives -1 for what it does not know.
#[unsafe(no_mangle)]
extern "C" fn sysconf(name: c_int) -> c_long {
    match name {
        // SAFETY: no pointers; the kernel gives every process this number.
        libc::_SC_PAGESIZE => unsafe { libc::getauxval(libc::AT_PAGESZ) as c_long },
        libc::_SC_NPROCESSORS_ONLN | libc::_SC_NPROCESSORS_CONF => __get_nprocs().into(),
        _ => -1,
    }
}

/// [`sysconf`], as glibc itself calls it.
// SAFETY: as there.
#[unsafe(no_mangle)]
extern "C" fn __sysconf(name: c_int) -> c_long {
    sysconf(name)
}

/// For malloc, which limits by it how many threads get an arena of their own.
// SAFETY: as get_nprocs(3) does when it can't read /sys, it gives a number from 1 on.
#[unsafe(no_mangle)]
extern "C" fn __get_nprocs() -> c_int {
    1
}
