/** The systemd unit of an executor; deploy/systemd/virtctl-executor.service is the same, as a test says. */
export const executorUnit = `# The agent of a node. Guests belong to libvirtd: stopping or restarting this unit touches none of them.
[Unit]
Description=virtctl executor: makes this node's libvirt domains what the VirtualMachines say
Documentation=https://github.com/virtctl/virtctl/blob/main/docs/executor.md
After=network-online.target libvirtd.service virtqemud.socket
Wants=network-online.target

[Service]
Type=exec
Environment=KUBECONFIG=/etc/virtctl/kubeconfig
Environment=NODE_NAME=%l LIBVIRT_URI=qemu:///system
EnvironmentFile=-/etc/default/virtctl-executor
ExecStart=/usr/bin/virtctl executor --node-name \${NODE_NAME} --connect \${LIBVIRT_URI} --data-dir /var/lib/virtctl/executor
Restart=always
RestartSec=2
# SIGTERM ends the step at hand.
KillMode=mixed
TimeoutStopSec=30
# What machines' volumes need: 0711 so that QEMU's user can reach the files that libvirt gives it.
StateDirectory=virtctl/executor
StateDirectoryMode=0711
RuntimeDirectory=virtctl
# External snapshots lie beside the disks; add the folders of other pools.
ReadWritePaths=-/var/lib/libvirt/images

# It speaks to libvirtd's socket and the API server, runs genisoimage and qemu-img, and opens /dev/kvm nowhere itself.
NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome=yes
PrivateTmp=yes
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectControlGroups=yes
ProtectClock=yes
ProtectHostname=yes
ProtectProc=invisible
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
# Node.js compiles at run time, so MemoryDenyWriteExecute cannot be set.
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources @mount @swap @reboot @module @raw-io
CapabilityBoundingSet=CAP_DAC_OVERRIDE CAP_FOWNER CAP_CHOWN
UMask=0077
MemoryMax=512M
TasksMax=256

[Install]
WantedBy=multi-user.target
`;
