# What the guest's scripts share. Their shell, a link to the static busybox, runs its applets without looking into PATH or
# starting programs: twice as fast. /run/fabric holds what is true until the next boot, /var/lib/fabric what stays.

export PATH=/usr/sbin:/usr/bin:/sbin:/bin
run=/run/fabric
state=/var/lib/fabric
data=$run/data

# One line on every console, with the time since power-on.
say() {
    echo "<4>fabric-guest: $*" >/dev/kmsg
}

# The addresses of an interface, or of all; link-local ones are left out.
addresses() {
    ip -o addr show ${1:+dev "$1"} | awk '$3 ~ /^inet/ && $2 != "lo" && $4 !~ /^fe80/ { printf "%s%s", sep, $4; sep = " " }'
}
