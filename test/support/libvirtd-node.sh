#!/usr/bin/env bash
# One libvirtd in namespaces of its own; started by libvirtd.ts. Needs root.
#
#   libvirtd-node.sh supervise DIR GROUP own|host CACHE [libvirtd's arguments]
#
# NODE_HOSTNAME is the host's name, GROUP that of its control groups.
#
# Reads commands on standard input (start, signal NAME, await) and answers each with one line. Ends when standard
# input does, so nothing outlives the process that holds the pipe; then the control groups are removed, and DIR unless
# NODE_KEEP is set.
set -u

# Control groups of the node, one below ours in every hierarchy, so that two nodes never share a domain's group.
group_mounts() { while read -r _ at type options _; do
  if [[ $type == cgroup || $type == cgroup2 ]]; then echo "$at $type $options"; fi
done </proc/self/mounts; }

group_of() { # the path of our own group in a hierarchy mounted with these options
  local type=$1 options=,$2, id names path
  while IFS=: read -r id names path; do
    if [[ $type == cgroup2 ]]; then
      if [[ $id == 0 ]]; then echo "$path"; fi
    elif [[ -n $names && ( $options == *",$names,"* || $options == *",${names%%,*},"* ) ]]; then echo "$path"; fi
  done </proc/self/cgroup
}

supervise() {
  local dir=$1 name=$2 network=$3 groups=() at type options
  while read -r at type options; do
    local own=$at$(group_of "$type" "$options")
    mkdir "$own/$name" 2>/dev/null || continue
    groups+=("$own/$name")
    if [[ -e $own/cpuset.mems && $type == cgroup ]]; then
      cat "$own/cpuset.cpus" >"$own/$name/cpuset.cpus"; cat "$own/cpuset.mems" >"$own/$name/cpuset.mems"
    fi
  done < <(group_mounts)
  (
    for group in "${groups[@]}"; do echo "$BASHPID" >"$group/cgroup.procs"; done
    local net=(); [[ $network == own ]] && net=(--net)
    exec unshare --mount --uts --pid --ipc --cgroup "${net[@]}" --fork --kill-child --mount-proc --propagation private \
      bash "${BASH_SOURCE[0]}" init "$@"
  )
  for group in "${groups[@]}"; do
    # A group is busy for a moment after its last process ended.
    for _ in {1..50}; do find "$group" -depth -type d -exec rmdir {} + 2>/dev/null; [[ -d $group ]] || break; sleep 0.1; done
  done
  [[ -n ${NODE_KEEP:-} ]] || rm -rf "$dir"
}

init() {
  local dir=$1 name=$2 network=$3 cache=$4 groups=() group libvirtd=0
  shift 4
  mapfile -t groups < <(group_mounts)
  if [[ $network == own ]]; then mount -t sysfs sysfs /sys; else umount -R /sys/fs/cgroup 2>/dev/null; fi
  mount -t tmpfs -o mode=755 tmpfs /sys/fs/cgroup
  for group in "${groups[@]}"; do
    read -r at type options <<<"$group"
    mkdir -p "$at"
    if [[ $type == cgroup2 ]]; then
      mount -t cgroup2 cgroup2 "$at" && mkdir -p "$at/init" && echo 1 >"$at/init/cgroup.procs"
    else
      local wanted; wanted=$(tr , '\n' <<<"$options" | grep -vE '^(rw|relatime|nosuid|nodev|noexec|clone_children|xattr|release_agent=.*)$' | paste -sd,)
      if [[ $wanted == name=* ]]; then wanted=none,$wanted; fi
      mount -t cgroup -o "$wanted" cgroup "$at"
    fi
  done 2>>"$dir/libvirtd.out"
  mkdir -p /run/libvirt /var/lib/libvirt /etc/libvirt /var/log/libvirt /var/cache/libvirt "$cache"
  mount --bind "$dir/run" /run/libvirt
  mount --bind "$dir/var" /var/lib/libvirt
  mount --bind "$dir/etc" /etc/libvirt
  mount --bind "$dir/log" /var/log/libvirt
  mount --bind "$cache" /var/cache/libvirt
  mount --bind "$dir/hosts" /etc/hosts
  if [[ -e /etc/machine-id ]]; then mount --bind "$dir/machine-id" /etc/machine-id; fi
  hostname "${NODE_HOSTNAME:-$name}"
  if [[ $network == own ]]; then ip link set lo up; fi
  echo ready
  # This shell is the namespace's first process and reaps whatever ends: a QEMU that stays a zombie would make libvirtd
  # wait 40 seconds for it.
  while read -r command argument; do
    case $command in
      start)
        libvirtd "$@" --pid-file /run/libvirt/libvirtd.pid </dev/null >>"$dir/libvirtd.out" 2>&1 &
        libvirtd=$!
        ;;
      signal) kill "-$argument" "$libvirtd" 2>/dev/null ;;
      await) wait "$libvirtd" 2>/dev/null ;;
    esac
    echo done
  done
}

"$@"
