#!/bin/busybox sh
# First process of a guest. The kernel's command line says who it is: lab.address=A/N lab.mtu=M.
# It loads modules, brings eth0 and the soft-RoCE device rxe0 up, says "lab: ready" on the first
# serial line, and then runs what the second one asks for. A request is a line "NUMBER COMMAND". The
# answer is a line "NUMBER STATUS LENGTH" and LENGTH bytes of output.
export PATH=/bin:/run/bin HOME=/tmp
/bin/busybox mkdir -p /run/bin
/bin/busybox --install -s /run/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mount -t tmpfs tmpfs /tmp
ulimit -l unlimited

for module in /modules/*.ko; do insmod "$module" || echo "lab: cannot load $module"; done
for word in $(cat /proc/cmdline); do
    case $word in
    lab.address=*) address=${word#*=} ;;
    lab.mtu=*) mtu=${word#*=} ;;
    esac
done
for which in all default; do echo 1 >/proc/sys/net/ipv6/conf/$which/disable_ipv6; done
ip link set lo up
ip link set eth0 mtu "$mtu" up
ip address add "$address" dev eth0
rdma link add rxe0 type rxe netdev eth0
tries=0
until grep -q ACTIVE /sys/class/infiniband/rxe0/ports/1/state || [ $tries -gt 100 ]; do
    sleep 0.1
    tries=$((tries + 1))
done

serve() {
    exec 3<>/dev/ttyS1
    stty -F /dev/ttyS1 raw -echo
    echo "lab: ready" # what comes before this would be lost
    while read -r number command <&3; do
        sh -c "$command" >/tmp/answer 2>&1 3>&- </dev/null
        status=$?
        echo "$number $status $(wc -c </tmp/answer)" >&3
        cat /tmp/answer >&3
    done
}

# Not in this process, which all orphans become children of: a child that ends while the shell
# reads a line makes it forget the part that it has read.
serve &
while sleep 3600; do :; done
