# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_xhop_global_optspecs
    string join \n h/help V/version
end

function __fish_xhop_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_xhop_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_xhop_using_subcommand
    set -l cmd (__fish_xhop_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c xhop -n "__fish_xhop_needs_command" -s h -l help -d 'Print help'
complete -c xhop -n "__fish_xhop_needs_command" -s V -l version -d 'Print version'
complete -c xhop -n "__fish_xhop_needs_command" -f -a "up" -d 'Join containers: their packets to each other take the direct path'
complete -c xhop -n "__fish_xhop_needs_command" -f -a "down" -d 'Take containers out again, and give back every setting that was changed'
complete -c xhop -n "__fish_xhop_needs_command" -f -a "chain" -d 'Make a service chain: what comes by a NIC goes through containers, one after the other'
complete -c xhop -n "__fish_xhop_needs_command" -f -a "watch" -d 'Stay, and join who comes to a bridge; take out who goes; mend what others change'
complete -c xhop -n "__fish_xhop_needs_command" -f -a "status" -d 'Show who is joined, how, and what became of their packets'
complete -c xhop -n "__fish_xhop_needs_command" -f -a "audit" -d 'Check that the kernel runs just what this xhop would load, and that nobody else has BPF there'
complete -c xhop -n "__fish_xhop_needs_command" -f -a "doctor" -d 'Try what this kernel can do; with two containers, send probes both ways, and say what is wrong'
complete -c xhop -n "__fish_xhop_needs_command" -f -a "capture" -d 'Capture what comes by the programs of joined containers, with what becomes of each packet'
complete -c xhop -n "__fish_xhop_needs_command" -f -a "demo" -d 'Show the whole experiment on two throw-away containers'
complete -c xhop -n "__fish_xhop_needs_command" -f -a "bench" -d 'Measure the path from one container to another, in each way to join them, beside the plain one'
complete -c xhop -n "__fish_xhop_needs_command" -f -a "programs" -d 'List every program that this binary can ever load'
complete -c xhop -n "__fish_xhop_needs_command" -f -a "show" -d 'Show a program: instruction by instruction with reason and source, or for other tools'
complete -c xhop -n "__fish_xhop_needs_command" -f -a "disasm" -d 'Disassemble any bytes: raw, hex text, or the code of an ELF object'
complete -c xhop -n "__fish_xhop_needs_command" -f -a "lint" -d 'Walk every path of a program for XDP or traffic control: what it reads, writes, calls and returns, and what is wrong with it'
complete -c xhop -n "__fish_xhop_needs_command" -f -a "vm" -d 'Run a program on a capture, here and now, without root'
complete -c xhop -n "__fish_xhop_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c xhop -n "__fish_xhop_using_subcommand up" -l bridge -d 'All containers on this bridge. Who has no address yet, or is down, is left out' -r
complete -c xhop -n "__fish_xhop_using_subcommand up" -l datapath -d 'The hook that their packets take; `auto` is that of who is joined on their bridge already, or else tc, the best for what sockets send, but native where a container has a native XDP program of its own' -r -f -a "auto\t'The fastest that this kernel does right, for what sockets send'
tc\t'Traffic control: packets stay skbs, as their sender\'s stack made them'
native\t'XDP in the veth driver: for frames that are not yet skbs'
generic\t'XDP on skbs'"
complete -c xhop -n "__fish_xhop_using_subcommand up" -l checksum -d 'What to do about checksums that senders leave to the device, which native XDP loses [default: complete]; asks for `--datapath native`' -r -f -a "complete\t'The program completes them'
offload-off\t'The containers\' own stacks do: their tx checksum offload is switched off'
trust\t'The receiver is told that they are right, of what comes from a joined container to another'
none\t'Nothing: to reproduce the fault. Ping works, TCP hangs'"
complete -c xhop -n "__fish_xhop_using_subcommand up" -l attach -d 'How programs are attached [default: link, for tc before kernel 6.6 netlink]' -r -f -a "link\t'A `bpf_link`, pinned (tc: kernels from 6.6)'
netlink\t'Through netlink: `IFLA_XDP`, or a filter on `clsact`; the program is pinned'"
complete -c xhop -n "__fish_xhop_using_subcommand up" -l big-tcp -d 'Let the containers\' TCP over IPv4 send up to 192 KiB at once instead of 64 (kernels from 6.3)' -r -f -a "on\t''
off\t''"
complete -c xhop -n "__fish_xhop_using_subcommand up" -l jumbo -d 'Let the containers send packets of up to 65520 bytes to each other, and to nobody else' -r -f -a "on\t''
off\t''"
complete -c xhop -n "__fish_xhop_using_subcommand up" -l force -d 'Take a foreign XDP program off a host side (`down` puts it back), and join what the bridge or the engine keeps apart; join by tc who has a native XDP program of his own, which that goes round'
complete -c xhop -n "__fish_xhop_using_subcommand up" -l dry-run -d 'Show what would be done, and change nothing'
complete -c xhop -n "__fish_xhop_using_subcommand up" -l json -d 'Print the plan and the members as JSON'
complete -c xhop -n "__fish_xhop_using_subcommand up" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c xhop -n "__fish_xhop_using_subcommand down" -l chain -d 'The chain of this NIC' -r
complete -c xhop -n "__fish_xhop_using_subcommand down" -l all -d 'All that are joined, and all chains'
complete -c xhop -n "__fish_xhop_using_subcommand down" -l dry-run -d 'Show what would be done, and change nothing'
complete -c xhop -n "__fish_xhop_using_subcommand down" -l json -d 'Print the plan and the members as JSON'
complete -c xhop -n "__fish_xhop_using_subcommand down" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c xhop -n "__fish_xhop_using_subcommand chain" -l match -d 'What goes in: dst=ADDR, and after commas proto=tcp|udp|icmp|icmpv6|N, port=N, vlan=N; may be given several times [default: all that is for the last container\'s addresses]' -r
complete -c xhop -n "__fish_xhop_using_subcommand chain" -l back -d 'Let what the last one answers go back through the others, from the nearest to the first'
complete -c xhop -n "__fish_xhop_using_subcommand chain" -l dry-run -d 'Show what would be done, and change nothing'
complete -c xhop -n "__fish_xhop_using_subcommand chain" -l json -d 'Print the plan and the chain as JSON'
complete -c xhop -n "__fish_xhop_using_subcommand chain" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c xhop -n "__fish_xhop_using_subcommand watch" -l bridge -d 'A bridge; may be given several times [default: all bridges of this namespace]' -r
complete -c xhop -n "__fish_xhop_using_subcommand watch" -l datapath -d 'The hook that their packets take; `auto` is that of who is joined on their bridge already, or else tc, the best for what sockets send, but native where a container has a native XDP program of its own' -r -f -a "auto\t'The fastest that this kernel does right, for what sockets send'
tc\t'Traffic control: packets stay skbs, as their sender\'s stack made them'
native\t'XDP in the veth driver: for frames that are not yet skbs'
generic\t'XDP on skbs'"
complete -c xhop -n "__fish_xhop_using_subcommand watch" -l checksum -d 'What to do about checksums that senders leave to the device, which native XDP loses [default: complete]; asks for `--datapath native`' -r -f -a "complete\t'The program completes them'
offload-off\t'The containers\' own stacks do: their tx checksum offload is switched off'
trust\t'The receiver is told that they are right, of what comes from a joined container to another'
none\t'Nothing: to reproduce the fault. Ping works, TCP hangs'"
complete -c xhop -n "__fish_xhop_using_subcommand watch" -l attach -d 'How programs are attached [default: link, for tc before kernel 6.6 netlink]' -r -f -a "link\t'A `bpf_link`, pinned (tc: kernels from 6.6)'
netlink\t'Through netlink: `IFLA_XDP`, or a filter on `clsact`; the program is pinned'"
complete -c xhop -n "__fish_xhop_using_subcommand watch" -l big-tcp -d 'Let the containers\' TCP over IPv4 send up to 192 KiB at once instead of 64 (kernels from 6.3)' -r -f -a "on\t''
off\t''"
complete -c xhop -n "__fish_xhop_using_subcommand watch" -l jumbo -d 'Let the containers send packets of up to 65520 bytes to each other, and to nobody else' -r -f -a "on\t''
off\t''"
complete -c xhop -n "__fish_xhop_using_subcommand watch" -l force -d 'Take a foreign XDP program off a host side (`down` puts it back), and join what the bridge or the engine keeps apart; join by tc who has a native XDP program of his own, which that goes round'
complete -c xhop -n "__fish_xhop_using_subcommand watch" -l down-on-exit -d 'Take all of them out when it ends; else they stay joined'
complete -c xhop -n "__fish_xhop_using_subcommand watch" -l json -d 'Print a JSON object a line'
complete -c xhop -n "__fish_xhop_using_subcommand watch" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c xhop -n "__fish_xhop_using_subcommand status" -l json -d 'Print JSON'
complete -c xhop -n "__fish_xhop_using_subcommand status" -l watch -d 'Show it again every second, until interrupted'
complete -c xhop -n "__fish_xhop_using_subcommand status" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c xhop -n "__fish_xhop_using_subcommand audit" -l json -d 'Print JSON'
complete -c xhop -n "__fish_xhop_using_subcommand audit" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c xhop -n "__fish_xhop_using_subcommand doctor" -l json -d 'Print JSON'
complete -c xhop -n "__fish_xhop_using_subcommand doctor" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c xhop -n "__fish_xhop_using_subcommand capture" -l out -d 'Write a pcapng file instead of a line a packet. `-` is standard output' -r -F
complete -c xhop -n "__fish_xhop_using_subcommand capture" -l count -d 'End after so many packets' -r
complete -c xhop -n "__fish_xhop_using_subcommand capture" -l snaplen -d 'Bytes of a packet that are captured, at most 32000 [default: 128; with --out: 32000]' -r
complete -c xhop -n "__fish_xhop_using_subcommand capture" -l json -d 'Print a JSON object a line: each packet, and at the end what was seen and lost'
complete -c xhop -n "__fish_xhop_using_subcommand capture" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c xhop -n "__fish_xhop_using_subcommand demo" -l seconds -d 'How long TCP throughput is measured each time' -r
complete -c xhop -n "__fish_xhop_using_subcommand demo" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c xhop -n "__fish_xhop_using_subcommand bench" -l containers -d 'Join no more than so many' -r
complete -c xhop -n "__fish_xhop_using_subcommand bench" -l rounds -d 'How often each is measured, in turn; medians are shown [default: 6, with --checksum 15, with --frames 10, with --scale 3]' -r
complete -c xhop -n "__fish_xhop_using_subcommand bench" -l seconds -d 'How long each measurement takes' -r
complete -c xhop -n "__fish_xhop_using_subcommand bench" -l checksum -d 'Time the checksum routines: ours, the two-byte loop of the report that this tool began with, and the kernel\'s'
complete -c xhop -n "__fish_xhop_using_subcommand bench" -l frames -d 'Count small frames that are born as XDP, as from a NIC: how many a second get to another container'
complete -c xhop -n "__fish_xhop_using_subcommand bench" -l scale -d 'Time `up` and `down` among more and more joined containers; tell memory, and packets between two'
complete -c xhop -n "__fish_xhop_using_subcommand bench" -l force -d 'Join them as `up --force` does'
complete -c xhop -n "__fish_xhop_using_subcommand bench" -l json -d 'Print JSON, with every sample'
complete -c xhop -n "__fish_xhop_using_subcommand bench" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c xhop -n "__fish_xhop_using_subcommand programs" -l json -d 'Print JSON'
complete -c xhop -n "__fish_xhop_using_subcommand programs" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c xhop -n "__fish_xhop_using_subcommand show" -l format -d 'As what' -r -f -a "listing\t'All there is to know, then an instruction a line'
hex\t'Hex digits, 8 bytes a line'
c\t'A C array of `struct bpf_insn`'
bin\t'The bytes: what is hashed, little-endian'
dot\t'The control flow, for graphviz'
elf\t'An object with BTF for loaders and verifiers; it is the same for every kernel'"
complete -c xhop -n "__fish_xhop_using_subcommand show" -l kernel -d 'As a kernel of this version gets it, say 5.10: before 5.14 each map is named by its descriptor' -r
complete -c xhop -n "__fish_xhop_using_subcommand show" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c xhop -n "__fish_xhop_using_subcommand disasm" -l format -d 'What is in the file' -r -f -a "auto\t'By what it looks like'
raw\t'Instructions, little-endian'
hex\t'Instructions as hex digits, little-endian; white space between them does not matter'
elf\t'An object, as `clang -target bpf -c` makes it'"
complete -c xhop -n "__fish_xhop_using_subcommand disasm" -l section -d 'Only this section of an ELF object' -r
complete -c xhop -n "__fish_xhop_using_subcommand disasm" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c xhop -n "__fish_xhop_using_subcommand lint" -l format -d 'What is in the file' -r -f -a "auto\t'By what it looks like'
raw\t'Instructions, little-endian'
hex\t'Instructions as hex digits, little-endian; white space between them does not matter'
elf\t'An object, as `clang -target bpf -c` makes it'"
complete -c xhop -n "__fish_xhop_using_subcommand lint" -l section -d 'Only this section of an ELF object' -r
complete -c xhop -n "__fish_xhop_using_subcommand lint" -l hook -d 'Where code of a file runs whose section, if it has one, does not tell by its name [default: xdp]' -r -f -a "xdp\t''
tc\t''"
complete -c xhop -n "__fish_xhop_using_subcommand lint" -l json -d 'Print JSON'
complete -c xhop -n "__fish_xhop_using_subcommand lint" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c xhop -n "__fish_xhop_using_subcommand vm" -l pcap -d 'The capture: pcap or pcapng, of Ethernet. `-` is standard input' -r -F
complete -c xhop -n "__fish_xhop_using_subcommand vm" -l out -d 'Write the packets as the program left them, all and in order, whatever its verdict, to a pcap file that can be laid beside IN. `-` is standard output; all else is then told on standard error' -r -F
complete -c xhop -n "__fish_xhop_using_subcommand vm" -l packet -d 'Run this packet alone, counted from 1 as in the table' -r
complete -c xhop -n "__fish_xhop_using_subcommand vm" -l container -d 'Who is joined (can be repeated). Without it, it is read off the capture: each unicast Ethernet address with the IP addresses that go with it, as source or destination of untagged packets or sender of ARP; ifindexes count from 1. Who has several IPv4, or several IPv6 addresses but for link-local ones, may be a router and is none; a single address behind a router can\'t be told' -r
complete -c xhop -n "__fish_xhop_using_subcommand vm" -l in -d 'Where packets come in whose Ethernet source is no container\'s. Others come in where it is' -r
complete -c xhop -n "__fish_xhop_using_subcommand vm" -l trace -d 'Show each instruction that is executed, what for, and what it does'
complete -c xhop -n "__fish_xhop_using_subcommand vm" -l json -d 'Print JSON'
complete -c xhop -n "__fish_xhop_using_subcommand vm" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c xhop -n "__fish_xhop_using_subcommand help; and not __fish_seen_subcommand_from up down chain watch status audit doctor capture demo bench programs show disasm lint vm help" -f -a "up" -d 'Join containers: their packets to each other take the direct path'
complete -c xhop -n "__fish_xhop_using_subcommand help; and not __fish_seen_subcommand_from up down chain watch status audit doctor capture demo bench programs show disasm lint vm help" -f -a "down" -d 'Take containers out again, and give back every setting that was changed'
complete -c xhop -n "__fish_xhop_using_subcommand help; and not __fish_seen_subcommand_from up down chain watch status audit doctor capture demo bench programs show disasm lint vm help" -f -a "chain" -d 'Make a service chain: what comes by a NIC goes through containers, one after the other'
complete -c xhop -n "__fish_xhop_using_subcommand help; and not __fish_seen_subcommand_from up down chain watch status audit doctor capture demo bench programs show disasm lint vm help" -f -a "watch" -d 'Stay, and join who comes to a bridge; take out who goes; mend what others change'
complete -c xhop -n "__fish_xhop_using_subcommand help; and not __fish_seen_subcommand_from up down chain watch status audit doctor capture demo bench programs show disasm lint vm help" -f -a "status" -d 'Show who is joined, how, and what became of their packets'
complete -c xhop -n "__fish_xhop_using_subcommand help; and not __fish_seen_subcommand_from up down chain watch status audit doctor capture demo bench programs show disasm lint vm help" -f -a "audit" -d 'Check that the kernel runs just what this xhop would load, and that nobody else has BPF there'
complete -c xhop -n "__fish_xhop_using_subcommand help; and not __fish_seen_subcommand_from up down chain watch status audit doctor capture demo bench programs show disasm lint vm help" -f -a "doctor" -d 'Try what this kernel can do; with two containers, send probes both ways, and say what is wrong'
complete -c xhop -n "__fish_xhop_using_subcommand help; and not __fish_seen_subcommand_from up down chain watch status audit doctor capture demo bench programs show disasm lint vm help" -f -a "capture" -d 'Capture what comes by the programs of joined containers, with what becomes of each packet'
complete -c xhop -n "__fish_xhop_using_subcommand help; and not __fish_seen_subcommand_from up down chain watch status audit doctor capture demo bench programs show disasm lint vm help" -f -a "demo" -d 'Show the whole experiment on two throw-away containers'
complete -c xhop -n "__fish_xhop_using_subcommand help; and not __fish_seen_subcommand_from up down chain watch status audit doctor capture demo bench programs show disasm lint vm help" -f -a "bench" -d 'Measure the path from one container to another, in each way to join them, beside the plain one'
complete -c xhop -n "__fish_xhop_using_subcommand help; and not __fish_seen_subcommand_from up down chain watch status audit doctor capture demo bench programs show disasm lint vm help" -f -a "programs" -d 'List every program that this binary can ever load'
complete -c xhop -n "__fish_xhop_using_subcommand help; and not __fish_seen_subcommand_from up down chain watch status audit doctor capture demo bench programs show disasm lint vm help" -f -a "show" -d 'Show a program: instruction by instruction with reason and source, or for other tools'
complete -c xhop -n "__fish_xhop_using_subcommand help; and not __fish_seen_subcommand_from up down chain watch status audit doctor capture demo bench programs show disasm lint vm help" -f -a "disasm" -d 'Disassemble any bytes: raw, hex text, or the code of an ELF object'
complete -c xhop -n "__fish_xhop_using_subcommand help; and not __fish_seen_subcommand_from up down chain watch status audit doctor capture demo bench programs show disasm lint vm help" -f -a "lint" -d 'Walk every path of a program for XDP or traffic control: what it reads, writes, calls and returns, and what is wrong with it'
complete -c xhop -n "__fish_xhop_using_subcommand help; and not __fish_seen_subcommand_from up down chain watch status audit doctor capture demo bench programs show disasm lint vm help" -f -a "vm" -d 'Run a program on a capture, here and now, without root'
complete -c xhop -n "__fish_xhop_using_subcommand help; and not __fish_seen_subcommand_from up down chain watch status audit doctor capture demo bench programs show disasm lint vm help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
