#!/bin/sh
# Looks whether a host can run weft, and what on it would get in weft's way: kernel, settings, what other networks left behind, K3s'
# flags. Changes nothing. POSIX sh and the usual small programs; no Node.js, no bash, so that it runs before anything is installed.
#   preflight.sh [--list | [--lines] [CHECK…]]
#     (nothing)  for people; exit status 1 if there is an error. With names of checks only those.
#     --lines    one finding a line: LEVEL, CHECK, what was seen, remedy, separated by tabs; what `weft doctor` reads
#     --list     names and meanings of the checks
# Environment: ROOT (default empty): folder in which the host's files are, such as /host in a container; with ROOT_PROGRAMS=1 programs
#   that ask the kernel (nft, iptables-save, ipset, date, runc) are those of $ROOT/bin alone, for tests. WEFT_MTU (1500), WEFT_INTERFACE (weft0), WEFT_RUN
#   (/run/weft): the configuration's network.mtu, network.hostInterface and paths.run.
# shellcheck disable=SC2015,SC2046
set -u
LC_ALL=C
export LC_ALL
ROOT=${ROOT:-}
ROOT=${ROOT%/}
mtu=${WEFT_MTU:-1500} interface=${WEFT_INTERFACE:-weft0} run_directory=${WEFT_RUN:-/run/weft}
mode=
case "${1:-}" in -*) mode=$1 && shift ;; esac
errors=0 warnings=0

# ---- what checks are made of

# found LEVEL CHECK SEEN [REMEDY]
found() {
  [ "$1" = error ] && errors=$((errors + 1))
  [ "$1" = warning ] && warnings=$((warnings + 1))
  if [ "$mode" = --lines ]; then
    printf '%s\t%s\t%s\t%s\n' "$1" "$2" "$3" "${4:-}"
  else
    printf '%-8s %-12s %s\n' "$1" "$2" "$3"
    [ -z "${4:-}" ] || printf '%-21s remedy: %s\n' '' "$4"
  fi
}

# Contents of a file of the host, without zero bytes; nothing where it cannot be read.
text() { tr '\000' ' ' 2>/dev/null <"$ROOT$1"; }
# The first line.
first() { text "$1" | sed -n 1p; }
is_number() { case "$1" in '' | *[!0-9]*) return 1 ;; esac; }
# run PROGRAM ARGUMENTS…: status 127 where there is none.
run() {
  program=$1
  shift
  if [ "${ROOT_PROGRAMS:-}" = 1 ]; then
    [ -x "$ROOT/bin/$program" ] || return 127
    "$ROOT/bin/$program" "$@" 2>/dev/null
    return
  fi
  for place in "$program" "/usr/sbin/$program" "/sbin/$program"; do
    command -v "$place" >/dev/null 2>&1 || continue
    "$place" "$@" 2>/dev/null
    return
  done
  return 127
}
# at_least VERSION WANTED: compares MAJOR.MINOR.
at_least() {
  awk -v a="$1" -v b="$2" 'BEGIN { split(a, x, /[^0-9]+/); split(b, y, /[^0-9]+/); exit !(x[1] + 0 > y[1] + 0 || (x[1] + 0 == y[1] + 0 && x[2] + 0 >= y[2] + 0)) }'
}
# The interfaces of the default routes, both families.
uplinks() {
  { text /proc/net/route | awk '$2 == "00000000" && $8 == "00000000" { print $1 }'
    text /proc/net/ipv6_route | awk '$1 == "00000000000000000000000000000000" && $2 == "00" && $10 != "lo" { print $10 }'; } | sort -u
}
join_lines() { tr '\n' ' ' | sed 's/ *$//'; }

# ---- the checks: one list; each reports at least one finding

table="kernel: the kernel is new enough
tun: /dev/net/tun can be opened
namespaces: network namespaces are there
page-size: the size of pages is one that images are aligned for
memory: there is memory for agent and switch
cgroup-memory: the memory controller of cgroups is on, which kubelet needs
clock: the date is plausible: certificates depend on it
run-directory: the run directory is in memory
nft: nft is there and the kernel takes it: masquerade and hostPort need it
forwarding: the kernel forwards, or weft will make it
router-adverts: router advertisements are still taken once the host forwards IPv6
rp-filter: reverse path filtering: every setting works
conntrack: the kernel's connection table has room, where it is there at all
mtu: network.mtu fits the uplink
forward-chain: nobody drops what is forwarded for pods
managers: network managers leave weft's interface alone
interfaces: no interfaces of other networks are left
rules: no iptables rules of other networks' policies are left
ipsets: no address sets of other networks are left
conflist: the runtime's first CNI configuration is weft's
plugins: the CNI plugins are where the runtime looks
k3s-flags: K3s' own network and policy controller are off
runc: runc lets containers open /dev/net/tun"

check_kernel() {
  release=$(first /proc/sys/kernel/osrelease)
  if [ -z "$release" ]; then
    found error kernel "its release cannot be read from $ROOT/proc" 'mount /proc'
  elif ! at_least "$release" 5.4; then
    found error kernel "Linux $release" 'take a kernel of 5.4 or newer; 6.1 is what weft is tested with'
  elif ! at_least "$release" 6.2; then
    found ok kernel "Linux $release; UDP segmentation on TAPs needs 6.2: without it bulk UDP costs more"
  else
    found ok kernel "Linux $release"
  fi
}

check_tun() {
  device=$ROOT/dev/net/tun
  if [ ! -e "$device" ]; then
    found error tun '/dev/net/tun is not there' 'modprobe tun, and list tun in /etc/modules-load.d/weft.conf; in a container mount it'
  elif ! (: <>"$device") 2>/dev/null; then
    found error tun '/dev/net/tun is there and cannot be opened' 'run as root; in a container allow the device c 10:200 rwm (runc 1.2.0 to 1.2.3 deny it by default: update runc)'
  else
    found ok tun '/dev/net/tun can be opened'
  fi
}

check_namespaces() {
  if [ -e "$ROOT/proc/self/ns/net" ]; then
    found ok namespaces 'network namespaces are there'
  else
    found error namespaces 'the kernel has no network namespaces (CONFIG_NET_NS)' 'take a kernel with CONFIG_NET_NS=y'
  fi
}

check_page_size() {
  size=$(text /proc/self/smaps | awk '/^KernelPageSize:/ { print $2; exit }')
  case "$size" in
    4 | 16 | 64) found ok page-size "$size KB" ;;
    '') found ok page-size 'unknown; 4, 16 and 64 KB are fine' ;;
    *) found error page-size "$size KB" 'take a kernel with pages of 4, 16 or 64 KB' ;;
  esac
}

check_memory() {
  free=$(text /proc/meminfo | awk '/^MemAvailable:/ { print int($2 / 1024) }')
  if ! is_number "$free"; then
    found warning memory 'what is available cannot be read' 'mount /proc'
  elif [ "$free" -lt 96 ]; then
    found error memory "$free MB available" 'weft needs about 150 MB with K3s beside it: take config/profiles/small-board.yaml, or free memory'
  elif [ "$free" -lt 256 ]; then
    found warning memory "$free MB available" 'take config/profiles/small-board.yaml'
  else
    found ok memory "$free MB available"
  fi
}

check_cgroup_memory() {
  remedy='add cgroup_memory=1 cgroup_enable=memory to the kernel command line (Raspberry Pi OS: /boot/firmware/cmdline.txt) and reboot'
  if [ -e "$ROOT/sys/fs/cgroup/cgroup.controllers" ]; then
    case " $(first /sys/fs/cgroup/cgroup.controllers) " in
      *' memory '*) found ok cgroup-memory 'on (cgroup v2)' ;;
      *) found error cgroup-memory 'off (cgroup v2)' "$remedy" ;;
    esac
  elif text /proc/cgroups | grep -q '^memory[[:space:]].*[[:space:]]1$'; then
    found ok cgroup-memory 'on (cgroup v1)'
  else
    found error cgroup-memory 'off' "$remedy"
  fi
}

check_clock() {
  now=$(run date +%s)
  if is_number "$now" && [ "$now" -ge 1735689600 ]; then
    found ok clock 'the date is later than 2024'
  else
    found error clock "the date is earlier than 2025 (${now:-none} seconds since 1970)" 'set the time (timedatectl set-ntp true); a board without a clock chip wants fake-hwclock or to wait for the network time before K3s starts'
  fi
}

check_run_directory() {
  kind=$(text /proc/mounts | awk -v path="$run_directory" '
    { point = $2; if (point == "/") point = ""
      if (index(path "/", point "/") == 1 && length(point) >= best) { best = length(point); kind = $3 } }
    END { print kind }')
  case "$kind" in
    tmpfs | ramfs) found ok run-directory "$run_directory is on $kind" ;;
    *) found warning run-directory "$run_directory is on ${kind:-an unknown file system}" 'mount a tmpfs there, or set paths.run to a folder in /run: state would outlive a reboot and cost disk writes' ;;
  esac
}

check_nft() {
  version=$(run nft --version)
  if [ -z "$version" ]; then
    found warning nft 'there is no nft' "apt-get install nftables (weft's image has its own)"
  elif run nft list tables >/dev/null; then
    found ok nft "$(printf '%s' "$version" | sed -n 1p)"
  else
    found error nft "$(printf '%s' "$version" | sed -n 1p), but the kernel refuses it" 'run as root with a kernel that has nf_tables (modprobe nf_tables)'
  fi
}

check_forwarding() {
  four=$(first /proc/sys/net/ipv4/ip_forward) six=$(first /proc/sys/net/ipv6/conf/all/forwarding)
  if [ "$four" = 1 ]; then
    found ok forwarding "IPv4 on, IPv6 $([ "$six" = 1 ] && echo on || echo off)"
  else
    found warning forwarding 'IPv4 forwarding is off' 'the agent turns it on; if something turns it off again, put net.ipv4.ip_forward=1 into /etc/sysctl.d/90-weft.conf'
  fi
}

check_router_adverts() {
  lost=
  for link in $(uplinks); do
    [ "$(first "/proc/sys/net/ipv6/conf/$link/forwarding")" = 1 ] || continue
    # A route by RA (RTF_ADDRCONF 0x40000) shows that the uplink lives by them.
    text /proc/net/ipv6_route | awk -v link="$link" '$10 == link && substr($9, 4, 1) ~ /[4-7c-f]/ { found = 1 } END { exit !found }' || continue
    [ "$(first "/proc/sys/net/ipv6/conf/$link/accept_ra")" = 2 ] || lost="$lost $link"
  done
  if [ -n "$lost" ]; then
    found warning router-adverts "ignored on$lost, which has its IPv6 by them and forwards" "sysctl -w$(for link in $lost; do printf ' net.ipv6.conf.%s.accept_ra=2' "$link"; done), and the same in /etc/sysctl.d/90-weft.conf"
  else
    found ok router-adverts 'no uplink loses its IPv6 by forwarding'
  fi
}

check_rp_filter() {
  all=$(first /proc/sys/net/ipv4/conf/all/rp_filter) own=$(first "/proc/sys/net/ipv4/conf/$interface/rp_filter")
  found ok rp-filter "all ${all:-unknown}, $interface ${own:-not there yet}"
}

check_conntrack() {
  used=$(first /proc/sys/net/netfilter/nf_conntrack_count) most=$(first /proc/sys/net/netfilter/nf_conntrack_max)
  if ! is_number "$used" || ! is_number "$most" || [ "$most" -eq 0 ]; then
    found ok conntrack 'not loaded; weft does not need it'
  elif [ $((used * 10)) -ge $((most * 9)) ]; then
    found warning conntrack "$used of $most connections" "sysctl -w net.netfilter.nf_conntrack_max=$((most * 2)): the host's NAT drops new connections when it is full"
  else
    found ok conntrack "$used of $most connections"
  fi
}

check_mtu() {
  links=$(uplinks)
  [ -n "$links" ] || { found warning mtu 'there is no default route' "give the host a route to its neighbours; pods use network.mtu $mtu" && return; }
  for link in $links; do
    uplink=$(first "/sys/class/net/$link/mtu")
    if ! is_number "$uplink"; then
      found warning mtu "that of $link cannot be read" "compare it with network.mtu $mtu"
    elif [ "$uplink" -lt "$mtu" ]; then
      found error mtu "$link takes $uplink bytes, network.mtu is $mtu" "set network.mtu to $uplink or less: larger packets get lost between nodes"
    else
      found ok mtu "$link takes $uplink bytes, network.mtu is $mtu"
    fi
  done
}

# Rules of the old and the new iptables as iptables-save prints them, of both families.
saved_rules() {
  for tool in iptables-save ip6tables-save; do run "$tool"; done
  # Asking the legacy tools would load their modules; where their tables are, these are loaded.
  [ -n "$(text /proc/net/ip_tables_names)" ] && run iptables-legacy-save
  [ -n "$(text /proc/net/ip6_tables_names)" ] && run ip6tables-legacy-save
  return 0
}

check_forward_chain() {
  remedy="accept $interface there: iptables -I FORWARD -i $interface -j ACCEPT; iptables -I FORWARD -o $interface -j ACCEPT (firewalld: add $interface to the zone trusted), and keep it where the firewall's rules are kept"
  blocked=$(printf '%s\n' "$rules" | grep -c '^:FORWARD DROP' || :)
  accepted=$(printf '%s\n' "$rules" | grep -c "^-A FORWARD -[io] $interface .*ACCEPT" || :)
  # What iptables keeps is in its own tables, and told below where iptables is there to tell it.
  others=$(run nft list ruleset | awk -v own="\"$interface\"" -v iptables="${rules:+told}" '
    $1 == "table" { table = $2 " " $3 }
    $1 == "chain" { chain = $2; drops = inward = outward = 0 }
    /hook forward/ && /policy drop/ && (iptables == "" || table !~ / filter$/) { drops = 1 }
    / accept/ && index($0, "iifname " own) { inward = 1 }
    / accept/ && index($0, "oifname " own) { outward = 1 }
    $1 == "}" { if (drops && !(inward && outward)) print table " " chain; drops = 0 }' | join_lines)
  if [ -n "$others" ]; then
    found error forward-chain "the nft chain $others drops what it has no rule for" "accept $interface there in both directions"
  elif [ "$blocked" -gt 0 ] && [ "$accepted" -lt $((2 * blocked)) ]; then
    found warning forward-chain 'FORWARD drops what it has no rule for (Docker, ufw and hand-made firewalls do that)' "the agent accepts $interface in FORWARD of iptables-nft by itself; elsewhere $remedy"
  else
    found ok forward-chain 'nothing there drops'
  fi
}

check_managers() {
  told() { grep -qs "$interface" "$ROOT"/etc/NetworkManager/conf.d/* "$ROOT"/run/NetworkManager/conf.d/* "$ROOT"/etc/systemd/network/* "$ROOT"/run/systemd/network/* "$ROOT/etc/dhcpcd.conf"; }
  present=
  [ ! -d "$ROOT/run/NetworkManager" ] || present="$present NetworkManager"
  [ ! -d "$ROOT/run/systemd/netif" ] || present="$present systemd-networkd"
  [ ! -e "$ROOT/etc/dhcpcd.conf" ] || present="$present dhcpcd"
  if [ -z "$present" ]; then
    found ok managers 'none is here'
  elif told; then
    found ok managers "told:$present"
  else
    found warning managers "here, and not told about $interface:$present" 'the agent tells them at its start; nothing to do before'
  fi
}

check_interfaces() {
  left=
  for path in "$ROOT"/sys/class/net/*; do
    link=${path##*/}
    case "$link" in
      flannel.* | flannel-* | cni0 | cali* | vxlan.calico | vxlan-v6.calico | cilium_* | lxc[0-9a-f][0-9a-f][0-9a-f][0-9a-f]* | kube-bridge | dummy-kube | weave | vethwe-* | antrea-gw0 | ovn-k8s-mp0) left="$left $link" ;;
    esac
  done
  if [ -n "$left" ]; then
    found warning interfaces "of another network:$left" "uninstall that network, then$(for link in $left; do printf ' ip link delete %s;' "$link"; done) or reboot: their routes compete with $interface"
  else
    found ok interfaces 'none of another network'
  fi
}

check_rules() {
  policy=$(printf '%s\n' "$rules" | sed -n 's/^:\(KUBE-ROUTER-[A-Z]*\|KUBE-NWPLCY-[A-Z0-9]*\|KUBE-POD-FW-[A-Z0-9]*\|cali-[A-Za-z0-9_-]*\|CILIUM_[A-Z_]*\|WEAVE-[A-Z-]*\) .*/\1/p' | sort -u)
  flannel=$(printf '%s\n' "$rules" | sed -n 's/^:\(FLANNEL-[A-Z]*\) .*/\1/p' | sort -u)
  count=$(printf '%s' "$policy" | grep -c . || :)
  if [ "$count" -gt 0 ]; then
    found error rules "$count chains of another network's policies, such as $(printf '%s\n' "$policy" | sed -n 1p)" "they drop by rules that nobody keeps any more: $(printf '%s\n' "$policy" | grep -q KUBE && echo "K3s leaves them when its policy controller is disabled; iptables-save | grep -v -e KUBE-ROUTER -e KUBE-NWPLCY -e KUBE-POD-FW | iptables-restore, the same for ip6tables," || echo 'uninstall that network') or reboot"
  elif [ -n "$flannel" ]; then
    found warning rules "chains of flannel: $(printf '%s\n' "$flannel" | join_lines)" 'they masquerade what weft would not: iptables-save | grep -v FLANNEL | iptables-restore, or reboot'
  elif [ -z "$rules" ]; then
    found ok rules 'none, or no iptables to ask'
  else
    found ok rules "none of another network's policies"
  fi
}

check_ipsets() {
  sets=$(run ipset list -n | grep -E '^(KUBE-|inet6:KUBE-|kube-router-|cali)' || :)
  count=$(printf '%s' "$sets" | grep -c . || :)
  if [ "$count" -gt 0 ]; then
    found warning ipsets "$count of another network's policies, such as $(printf '%s\n' "$sets" | sed -n 1p)" 'remove the rules that use them, then ipset destroy each, or reboot'
  else
    found ok ipsets 'none of another network'
  fi
}

# configurations FOLDER: what containerd would load, in its order.
configurations() {
  for path in "$ROOT$1"/*; do
    case "$path" in *.conf | *.conflist | *.json) [ -f "$path" ] && printf '%s\n' "${path##*/}" ;; esac
  done | sort
}

check_conflist() {
  seen=no
  for folder in /etc/cni/net.d /var/lib/rancher/k3s/agent/etc/cni/net.d; do
    files=$(configurations "$folder")
    [ -n "$files" ] || continue
    seen=yes
    head=$(printf '%s\n' "$files" | sed -n 1p)
    if ! grep -qs '"weft-cni"' "$ROOT$folder/$head"; then
      found error conflist "$folder/$head comes first and is not weft's" "the runtime takes the lexically first: remove it (K3s' own folder: start K3s with --flannel-backend=none) and run weft install"
    elif [ "$(printf '%s\n' "$files" | grep -c .)" -gt 1 ]; then
      found warning conflist "$folder/$head is weft's; after it $(printf '%s\n' "$files" | sed 1d | join_lines)" "remove the others: they take over as soon as weft's is gone"
    else
      found ok conflist "$folder/$head is weft's"
    fi
  done
  [ "$seen" = yes ] || found warning conflist 'there is none yet' 'run weft install, or deploy weft: pods wait for it'
}

check_plugins() {
  missing=
  for plugin in weft-cni loopback; do
    [ -x "$ROOT/opt/cni/bin/$plugin" ] || [ -x "$ROOT/var/lib/rancher/k3s/data/cni/$plugin" ] || missing="$missing $plugin"
  done
  if [ -n "$missing" ]; then
    found warning plugins "not in /opt/cni/bin:$missing" 'run weft install, or deploy weft'
  else
    found ok plugins 'weft-cni and loopback are there'
  fi
}

check_k3s_flags() {
  role=
  for process in "$ROOT"/proc/[0-9]*/cmdline; do
    case "$(tr '\000' ' ' 2>/dev/null <"$process")" in
      'k3s server'* | */'k3s server'* | */'k3s-server '*) role=server ;;
      'k3s agent'* | */'k3s agent'* | */'k3s-agent '*) role=${role:-agent} ;;
    esac
  done
  [ -n "$role" ] || [ ! -e "$ROOT/etc/systemd/system/k3s.service" ] || role=server
  [ -n "$role" ] || [ ! -e "$ROOT/etc/systemd/system/k3s-agent.service" ] || role=agent
  case "$role" in
    '') found ok k3s-flags 'no K3s is here' && return ;;
    agent) found ok k3s-flags "a K3s agent takes its servers' settings" && return ;;
  esac
  # K3s hides its arguments in the process' title, so its unit and its configuration are read, too.
  said=$({ cat "$ROOT"/proc/[0-9]*/cmdline | tr '\000' ' '
    cat "$ROOT"/etc/systemd/system/k3s.service "$ROOT"/etc/systemd/system/k3s.service.env "$ROOT"/etc/init.d/k3s
    sed 's/#.*//' "$ROOT"/etc/rancher/k3s/config.yaml "$ROOT"/etc/rancher/k3s/config.yaml.d/*.yaml; } 2>/dev/null | tr -d "'\"\\\\")
  # A server that was started by hand has no unit: what it does not tell may be set all the same.
  unit=
  for file in systemd/system/k3s.service init.d/k3s; do [ ! -e "$ROOT/etc/$file" ] || unit=$file; done
  wrong=
  printf '%s\n' "$said" | grep -Eq 'flannel-backend([=:]|[[:space:]])[[:space:]]*none' || wrong="$wrong flannel-backend=none"
  printf '%s\n' "$said" | grep -E 'disable-network-policy' | grep -Eqv 'disable-network-policy([=:])[[:space:]]*false' || wrong="$wrong disable-network-policy"
  if [ -n "$wrong" ] && [ -z "$unit" ] && ! printf '%s\n' "$said" | grep -Eq 'flannel-backend|disable-network-policy'; then
    found warning k3s-flags "cannot be seen: K3s hides its arguments, and neither a unit nor a configuration file has them" \
      'look for --flannel-backend=none and --disable-network-policy in the annotation k3s.io/node-args of the Node (kubectl describe node), or write them to /etc/rancher/k3s/config.yaml'
  elif [ -n "$wrong" ]; then
    found error k3s-flags "this K3s server lacks:$wrong" "write to /etc/rancher/k3s/config.yaml on every server: flannel-backend: none and disable-network-policy: true; then restart K3s"
  else
    found ok k3s-flags 'flannel-backend=none and disable-network-policy are set'
  fi
}

check_runc() {
  version=$(run runc --version | awk '/^runc version/ { print $3 }')
  own=$ROOT/var/lib/rancher/k3s/data/current/bin/runc
  [ ! -x "$own" ] || version=$("$own" --version 2>/dev/null | awk '/^runc version/ { print $3 }')
  case "$version" in
    1.2.0 | 1.2.0[-+]* | 1.2.1 | 1.2.1[-+]* | 1.2.2 | 1.2.2[-+]* | 1.2.3 | 1.2.3[-+]*)
      found error runc "runc $version denies /dev/net/tun to containers" 'update runc to 1.2.4 or newer, or run weft outside of a container' ;;
    '') found ok runc 'none to ask' ;;
    *) found ok runc "runc $version" ;;
  esac
}

# ---- run them

case "$mode" in
  '' | --lines) ;;
  --list) printf '%s\n' "$table" | sed "s/: /$(printf '\t')/" && exit 0 ;;
  *) echo "preflight: unknown argument '$mode' (known: --lines, --list)" >&2 && exit 2 ;;
esac
[ $# -gt 0 ] || set -- $(printf '%s\n' "$table" | sed 's/:.*//')
for check; do
  printf '%s\n' "$table" | grep -q "^$check: " || { echo "preflight: there is no check '$check' (--list names them)" >&2 && exit 2; }
done
case " $* " in *' rules '* | *' forward-chain '*) rules=$(saved_rules) ;; esac
for check; do "check_$(printf '%s' "$check" | tr - _)"; done
[ "$mode" = --lines ] || printf '%s errors, %s warnings\n' "$errors" "$warnings"
[ "$errors" -eq 0 ]
