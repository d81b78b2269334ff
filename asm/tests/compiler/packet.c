/* Parsing: bounds checks, byte order, bit fields, copies, a loop over options. */
#include "bpf.h"

enum { ABORTED, DROP, PASS, TX, REDIRECT };

struct eth {
    u8 dst[6], src[6];
    u16 proto;
} __attribute__((packed));

struct vlan {
    u16 tci, proto;
};

struct ip4 {
    u8 vihl, tos;
    u16 len, id, frag;
    u8 ttl, proto;
    u16 check;
    u32 saddr, daddr;
};

struct ip6 {
    u32 flow;
    u16 len;
    u8 next, hops;
    u64 saddr[2], daddr[2];
};

struct tcp {
    u16 sport, dport;
    u32 seq, ack;
    u16 flags, window, check, urgent;
};

struct flow {
    u64 from, to;
    u32 bytes;
    u16 sport, dport;
    u8 proto, v6, pad[2];
};

struct bpf_map SECTION("maps") ports = {14, 4, 4, 64, 0};
struct bpf_map SECTION("maps") flows = {1, sizeof(struct flow), 8, 1024, 0};

INLINE void *at(struct xdp_md *ctx, u32 off, u32 len)
{
    u64 start = ctx->data, end = ctx->data_end;
    if (start + off + len > end)
        return 0;
    return (void *)(start + off);
}

INLINE u16 fold(u64 sum)
{
    sum = (sum & 0xffffffff) + (sum >> 32);
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    return (u16)(sum + (sum >> 16));
}

INLINE int next_hop(struct ip4 *ip)
{
    u32 sum;
    if (ip->ttl <= 1)
        return -1;
    sum = (u32)NET16(ip->check) + 0x100;
    ip->check = NET16((u16)(sum + (sum >> 16)));
    ip->ttl--;
    return 0;
}

int parse(struct xdp_md *ctx)
{
    struct flow flow = {};
    struct eth *eth = at(ctx, 0, sizeof(*eth));
    u32 off = sizeof(*eth);
    u64 one = 1;
    u16 proto;
    if (!eth)
        return PASS;
    if (eth->dst[0] & 1)
        return PASS;
    proto = eth->proto;
    if (proto == NET16(0x8100) || proto == NET16(0x88a8)) {
        struct vlan *vlan = at(ctx, off, sizeof(*vlan));
        if (!vlan || (NET16(vlan->tci) & 0xfff) > 4000)
            return DROP;
        proto = vlan->proto;
        off += sizeof(*vlan);
    }
    switch (NET16(proto)) {
    case 0x0800: {
        struct ip4 *ip = at(ctx, off, sizeof(*ip));
        if (!ip || ip->vihl >> 4 != 4 || (ip->frag & NET16(0x3fff)))
            return PASS;
        if (next_hop(ip))
            return PASS;
        flow.from = ip->saddr;
        flow.to = ip->daddr;
        flow.bytes = NET16(ip->len);
        flow.proto = ip->proto;
        off += (ip->vihl & 15u) * 4;
        break;
    }
    case 0x86dd: {
        struct ip6 *ip = at(ctx, off, sizeof(*ip));
        if (!ip || ip->hops <= 1)
            return PASS;
        flow.from = ip->saddr[0] ^ ip->saddr[1];
        flow.to = NET64(ip->daddr[0]) + NET64(ip->daddr[1]);
        flow.bytes = NET16(ip->len) + 40u;
        flow.proto = ip->next;
        flow.v6 = 1;
        ip->hops -= 1;
        off += sizeof(*ip);
        break;
    }
    case 0x0806:
        return PASS;
    default:
        return DROP;
    }
    if (flow.proto == 6 || flow.proto == 17) {
        struct tcp *tcp = at(ctx, off, 8);
        if (!tcp)
            return PASS;
        flow.sport = NET16(tcp->sport);
        flow.dport = NET16(tcp->dport);
    }
    map_update_elem(&flows, &flow, &one, 0);
    __builtin_memcpy(eth->dst, eth->src, 6);
    eth->src[0] = 0x02;
    eth->src[5] = (u8)ctx->ingress_ifindex;
    return (int)redirect_map(&ports, ctx->ingress_ifindex, PASS);
}

int options(struct xdp_md *ctx)
{
    u8 *data = (u8 *)(u64)ctx->data, *end = (u8 *)(u64)ctx->data_end;
    u64 sum = 0;
    int i, seen = 0;
#pragma clang loop unroll(disable)
    for (i = 0; i < 40; i++) {
        if (data + 2 > end)
            break;
        if (data[0] == 0)
            break;
        if (data[0] == 1) {
            data++;
            continue;
        }
        seen |= 1 << (data[0] & 31);
        sum += (u64)data[0] << 8 | data[1];
        data += data[1];
    }
    return seen ^ fold(~sum);
}

int actions(struct xdp_md *ctx)
{
    /* Dense and sparse: a table for the compilers that make one, else a tree of branches. */
    switch (ctx->rx_queue_index) {
    case 0: return (int)ctx->data_meta;
    case 1: return DROP;
    case 2: return PASS;
    case 3: return TX;
    case 4: return REDIRECT;
    case 1000: return 17;
    case 70000: return -3;
    case 0x80000000: return 9;
    default: return ABORTED;
    }
}
