#!/usr/bin/env bash
# A host for ssh, inside the namespaces of a libvirtd (ssh-host.ts); everything it writes is on an overlay of its own and
# gone with them. Needs root.
#
#   ssh-host.sh DIR PORT METRICS PACKAGES
set -eu
dir=$1 port=$2 metrics=$3 packages=$4
root=$dir/root
mkdir -p "$dir/overlay" "$root"
mount -t tmpfs tmpfs "$dir/overlay"
mkdir "$dir/overlay/upper" "$dir/overlay/work"
mount -t overlay overlay -o "lowerdir=/,upperdir=$dir/overlay/upper,workdir=$dir/overlay/work" "$root"
# /lib is a link to /usr/lib, and is to stay one.
for archive in "$packages"/*.deb; do dpkg-deb --fsys-tarfile "$archive" | tar -x --keep-directory-symlink -C "$root"; done
for path in /proc /dev /sys /tmp /run/libvirt /var/lib/libvirt /var/log/libvirt /etc/hosts; do
  [[ -d $path ]] && mkdir -p "$root$path"
  mount --rbind "$path" "$root$path"
done
# Where the repository is mounted apart from the root.
mkdir -p "$root$PWD"; mountpoint -q "$PWD" && mount --rbind "$PWD" "$root$PWD"

mkdir -p "$root/run/sshd" "$root/etc/systemd/system" "$root/etc/default"
rm -rf "$root/etc/virtctl"
mount -t tmpfs tmpfs "$root/root"
cat >>"$root/etc/passwd" <<X
sshd:x:64001:64001::/run/sshd:/usr/sbin/nologin
operator:x:64002:64002::/home/operator:/bin/bash
guest:x:64003:64003::/home/guest:/bin/bash
X
for user in sshd operator guest; do echo "$user:*:19000:0:99999:7:::"; done >>"$root/etc/shadow"
echo 'operator ALL=(ALL) NOPASSWD: ALL' >"$root/etc/sudoers.d/operator"
chmod 440 "$root/etc/sudoers.d/operator"
for home in /root /home/operator /home/guest; do
  mkdir -p "$root$home/.ssh"
  cp "$dir/client.pub" "$root$home/.ssh/authorized_keys"
  chmod 700 "$root$home" "$root$home/.ssh"
done
chown -R 64002:64002 "$root/home/operator"
chown -R 64003:64003 "$root/home/guest"

# systemd's part: it runs the unit that it is given.
cat >"$root/usr/bin/systemctl" <<'X'
#!/bin/bash
set -eu
unit=/etc/systemd/system/virtctl-executor.service pid=/run/virtctl-executor.pid
[[ $(id -u) == 0 || $1 == --version ]] || { echo 'Interactive authentication required.' >&2; exit 1; }
stop() {
  [[ -e $pid ]] || return 0
  read -r id <$pid; rm $pid; kill "$id" 2>/dev/null || return 0
  while [[ -e /proc/$id && $(sed 's/.*) //' "/proc/$id/stat" | cut -c1) != Z ]]; do sleep 0.05; done
}
case $1 in
  --version) echo 'systemd 252' ;;
  daemon-reload) ;;
  list-unit-files) [[ -e $unit ]] && echo "${*: -1} enabled enabled"; exit 0 ;;
  enable) [[ -e $unit ]] ;;
  disable) [[ -e $unit ]] && stop ;;
  restart)
    stop
    set -a
    while read -r line; do for word in $line; do export "$word"; done; done < <(sed -n 's/^Environment=//p' $unit)
    source "$(sed -n 's/^EnvironmentFile=-\?//p' $unit)"
    command=$(sed -n 's/^ExecStart=//p' $unit); command=${command//\$\{NODE_NAME\}/$NODE_NAME}
    mkdir -p /var/lib/virtctl/executor
    setsid ${command//\$\{LIBVIRT_URI\}/$LIBVIRT_URI} $(cat /etc/test-arguments) </dev/null >>/var/log/executor.log 2>&1 &
    echo $! >$pid
    ;;
  *) echo "systemctl $*" >&2; exit 1 ;;
esac
X
chmod 755 "$root/usr/bin/systemctl"
echo "--metrics-address $metrics --lease-duration 4" >"$root/etc/test-arguments"
cat >"$dir/sshd_config" <<X
Port $port
ListenAddress 127.0.0.1
HostKey $dir/host
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
PidFile none
X
exec chroot "$root" /usr/sbin/sshd -D -e -f "$dir/sshd_config"
