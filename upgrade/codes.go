// Copyright The refit Authors.
// SPDX-License-Identifier: Apache-2.0

package upgrade

import (
	"refit.dev/refit/check"
	"refit.dev/refit/cluster"
	"refit.dev/refit/plan"
	"refit.dev/refit/skew"
)

// The codes of the findings of a plan, beside those of check and of package plan.
const (
	PathUnknownVersion = "path-unknown-version"
	PathDowngrade      = "path-downgrade"
	PathTooNew         = "path-component-too-new"
	PathSkippedMinor   = "path-skipped-minor"
	PathUnsupported    = "path-unsupported-goal"
	PathFallsBehind    = "path-component-falls-behind"

	NotKubeadm        = "control-plane-not-kubeadm"
	NotManaged        = "control-plane-not-managed"
	ManagedUnseen     = "control-plane-managed"
	PlaneReplaced     = "control-plane-replaced"
	ConfigBehind      = "kubeadm-config-differs"
	UpgradeUnfinished = "upgrade-unfinished"
	PatchUnknown      = "patch-unknown"
	MinorUnknown      = "minor-not-known"

	NotUnits       = "control-plane-not-units"
	UnitDown       = "unit-not-well"
	UnitLink       = "unit-program-link"
	UnitWrapper    = "unit-program-wrapper"
	UnitRefused    = "unit-refused"
	BinaryMissing  = "binary-unavailable"
	ProxyLeft      = "kube-proxy-not-unit"
	StrategyMethod = "strategy-not-for-method"

	HostUnseen   = "host-unseen"
	HostFailed   = "host-unreachable"
	HostGap      = "host-gap"
	RebootNeeded = "reboot-required"

	StaticPodWrong = "static-pod"
	RuntimeOld     = "runtime-old"

	PackageMissing    = "package-unavailable"
	PackagesUnseen    = "packages-unseen"
	PackageBroken     = "package-broken"
	PackageHeld       = "package-held"
	AutomaticUpgrades = "automatic-upgrades"
	ImageMissing      = "image-missing"
	DiskFull          = "disk-space"
	DiskLow           = "disk-low"
	KubeadmCopies     = "kubeadm-copies"

	CertificateExpired = "certificate-expired"
	CertificateExpires = "certificate-expires"
	CertificateUnused  = "certificate-unused"

	GateRemoved        = "feature-gate-removed"
	KubeletFlagRemoved = "kubelet-flag-removed"
	CgroupV1           = "cgroup-v1"
	CgroupV1Preflight  = "cgroup-v1-preflight"
	APIRemoved         = "deprecated-api-removed"
	APIDeprecated      = "deprecated-api"
	StoredVersionGone  = "stored-version"

	NodeNotUp        = "node-not-up"
	EtcdMember       = "etcd-member-not-ready"
	EtcdSingle       = "etcd-single-member"
	BackupKnown      = "backup-proven"
	BackupNone       = "backup-none"
	EtcdAlarm        = "etcd-alarm"
	EtcdSize         = "etcd-size"
	EtcdUnseen       = "etcd-unseen"
	EtcdUnasked      = "etcd-member-not-asked"
	EtcdStep         = "etcd-step"
	ServerUnwell     = "api-server-not-ready"
	WebhookRefuses   = "webhook-refuses-system"
	WebhookSeesThese = "webhook-sees-system"

	// FlagMissing is what it is for refit maintain.
	FlagMissing = "drain-flag-missing"
)

// codeOf is the code of a refusal.
func codeOf(r skew.Reason) string { return "path-" + string(r) }

// reused are the codes of check that a plan tells as they are.
func reused() []string {
	return []string{check.NodePressure, check.NodeOutOfService, check.NodeTainted, check.WebhookFailClosed, check.WebhookSelfBlocking,
		check.WebhookUnavailable, check.VersionUnknown, check.ControlPlaneSingle}
}

// Codes lists every code that Decide gives by itself, in the order of the reference.
func Codes() []cluster.Code {
	return []cluster.Code{
		{Name: PathUnknownVersion, Severity: cluster.Blocker, Meaning: "Nothing is known of what the API servers run.", Do: "See the message."},
		{Name: PathDowngrade, Severity: cluster.Blocker, Meaning: "API servers are newer than the goal. Kubernetes does not go back: older API servers may not be able to read what newer ones have written.",
			Do: "Aim at their version or a newer one; to go back for good, restore a backup of etcd."},
		{Name: PathTooNew, Severity: cluster.Blocker, Meaning: "A component is of a newer minor than the goal, which the version-skew policy does not allow.",
			Do: "Aim higher, or put the component back."},
		{Name: PathSkippedMinor, Severity: cluster.Blocker, Meaning: "API servers are more than one minor apart. Control planes move one minor at a time.",
			Do: "Take the old one out of the control plane and join it again."},
		{Name: PathUnsupported, Severity: cluster.Blocker, Meaning: "The goal gets no fixes any more, or is not released yet.",
			Do: "Aim at a supported minor, or say --allow-unsupported."},
		{Name: PathFallsBehind, Severity: cluster.Blocker, Meaning: "A cloud controller manager would be left behind by more than one minor. Its provider's installation moves it.",
			Do: "Go one minor at a time, and bring it along in between."},

		{Name: NotKubeadm, Severity: cluster.Blocker, Meaning: "No API server runs as a static pod or, as far as machines were looked at, as a service of systemd: the control plane is somebody else's, or was not made by kubeadm.",
			Do: "Ask whoever runs the control plane, or say --method units if it runs as services of systemd on machines that are nodes."},
		{Name: NotUnits, Severity: cluster.Blocker, Meaning: "--method units was said, and no API server was found that is a service of systemd.",
			Do: "Let refit log in to the machines of the control plane, which have to be nodes; the service is kube-apiserver.service."},
		{Name: NotManaged, Severity: cluster.Blocker, Meaning: "--method managed was said, and a node is one of the control plane: it runs an API server or a member of etcd, has the label of such nodes, or an address behind the Service default/kubernetes.",
			Do: "Leave --method out: refit finds out how the control plane was put together. A label that is not true can be taken off."},
		{Name: PlaneReplaced, Severity: cluster.Blocker, Meaning: "With --strategy replace, a node of the control plane would give way to a new machine: no API server is seen on it, and it has the label of the control plane, or a member of etcd.",
			Do: "Find out why its API server is not there (kubectl get pods -n kube-system -o wide), and mend it first; a label that is not true can be taken off."},
		{Name: ManagedUnseen, Severity: cluster.Info, Meaning: "Somebody else runs the control plane: what cannot be seen of it was not looked at, and is not saved.",
			Do: "Ask its provider about backups, and about what its new version needs."},
		{Name: UnitDown, Severity: cluster.Blocker, Meaning: "A component that is a service of systemd does not run, or is not well.",
			Do: "Look at it on the machine (systemctl status, journalctl -u), and mend it first."},
		{Name: UnitWrapper, Severity: cluster.Blocker, Meaning: "A service starts a script or another program that starts the component: refit would replace that by the component's binary.",
			Do: "Name the binary itself in the unit, with all of its flags behind it; set what the wrapper sets by Environment= or EnvironmentFile=."},
		{Name: UnitLink, Severity: cluster.Blocker, Meaning: "A service starts a symbolic link, or a path that leads over one: refit would not know whose file it replaces.",
			Do: "Name the file itself in the unit."},
		{Name: UnitRefused, Severity: cluster.Blocker, Meaning: "A binary of the release was asked whether it would start with what the unit says, and does not know a flag or a feature gate of it.",
			Do: "Change the unit, its environment file or its configuration on the machine (systemctl cat), reload systemd and restart the service; then make the plan again."},
		{Name: BinaryMissing, Severity: cluster.Blocker, Meaning: "The source does not have a binary of the release with a sum, or it could not be read.",
			Do: "Name a place that has it with --binaries: vX.Y.Z/bin/linux/ARCH/NAME and NAME.sha256 or NAME.sha512."},
		{Name: ProxyLeft, Severity: cluster.Warning, Meaning: "kube-proxy runs in pods on machines whose other components are services of systemd: it stays as it is.",
			Do: "Set the image of its DaemonSet when the upgrade is done; kube-proxy may be three minors older than the API servers, and not newer."},
		{Name: StrategyMethod, Severity: cluster.Blocker, Meaning: "The strategy is not one for a cluster that was put together like this one.",
			Do: "Use --strategy rolling."},
		{Name: ConfigBehind, Severity: cluster.Warning, Meaning: "kubeadm's own record of the cluster's version is not what the API servers run: an upgrade was not finished, or was made without kubeadm.",
			Do: "Nothing, if an upgrade was cut off: it is finished first."},
		{Name: UpgradeUnfinished, Severity: cluster.Warning, Meaning: "Components are of different versions: an upgrade was begun and not finished.",
			Do: "Nothing: what is left of it is the beginning of this plan."},
		{Name: PatchUnknown, Severity: cluster.Blocker, Meaning: "The goal names no patch, and no patch is known that every host could install.",
			Do: "Name it, such as 1.37.2, or let refit look at the hosts."},
		{Name: MinorUnknown, Severity: cluster.Info, Meaning: "This refit is older than the goal: it does not know which feature gates and flags were removed there.",
			Do: "Read the urgent upgrade notes of that release, or use a newer refit."},

		{Name: HostUnseen, Severity: cluster.Warning, Meaning: "Machines were not looked at: their packages, disks, certificates and settings are not known.",
			Do: "Let refit log in to them."},
		{Name: HostFailed, Severity: cluster.Blocker, Meaning: "A machine could not be looked at, so that it could not be upgraded either.",
			Do: "Say how to log in: --ssh-user, --ssh-key, --ssh-config, --inventory. refit upgrade plan --no-hosts plans without a look."},
		{Name: HostGap, Severity: cluster.Info, Meaning: "Something on a machine could not be looked at.", Do: "See the message."},
		{Name: RebootNeeded, Severity: cluster.Info, Meaning: "A machine waits for a reboot.",
			Do: "refit maintain --reboot, before or after the upgrade."},

		{Name: StaticPodWrong, Severity: cluster.Blocker, Meaning: "A static pod of the control plane does not run as its manifest says, or its manifest is not there.",
			Do: "Look at crictl ps -a and the kubelet's log; a missing manifest may be in /etc/kubernetes/tmp/kubeadm-backup-manifests-*."},
		{Name: RuntimeOld, Severity: cluster.Warning, Meaning: "A host runs containerd 1, which does not tell the kubelet its cgroup driver. Kubelets want that from 1.38 on (KEP-4033).",
			Do: "Move to containerd 2."},

		{Name: PackageMissing, Severity: cluster.Blocker, Meaning: "A host's repositories do not have the packages of a version on the way, or could not be asked.",
			Do: "Add the repository of that minor, refresh the mirror, or choose a patch that all hosts can install."},
		{Name: PackagesUnseen, Severity: cluster.Warning, Meaning: "A host's repositories were not asked for a version on the way.", Do: "Make the plan anew."},
		{Name: PackageBroken, Severity: cluster.Blocker, Meaning: "Packages of a host are half installed: the package manager refuses to install others.",
			Do: "Mend them: dpkg --configure -a, apt-get --fix-broken install; or dnf history."},
		{Name: PackageHeld, Severity: cluster.Info, Meaning: "Packages of Kubernetes are held. The hold is taken off for the upgrade and set again.", Do: "Leave them held."},
		{Name: AutomaticUpgrades, Severity: cluster.Warning, Meaning: "Something upgrades packages of a host by itself and may take those of Kubernetes: nodes may change their version at any time, all at once.",
			Do: "Hold the packages (apt-mark hold kubeadm kubelet kubectl), or exclude them."},
		{Name: ImageMissing, Severity: cluster.Info, Meaning: "Images of a version on the way are not on a host yet: they are pulled before anything is touched.", Do: "Make sure that the registry can be reached."},
		{Name: DiskFull, Severity: cluster.Blocker, Meaning: "A host has too little room on a disk for packages, images or kubeadm's copy of etcd's data.",
			Do: "Make room; what kubeadm has left in /etc/kubernetes/tmp can go."},
		{Name: DiskLow, Severity: cluster.Warning, Meaning: "After the upgrade a host has less room for images than its kubelet keeps free: it removes images that nothing runs from, and evicts pods.",
			Do: "Make room (apt-get clean, crictl rmi --prune), or enlarge the disk."},
		{Name: KubeadmCopies, Severity: cluster.Info, Meaning: "kubeadm has left copies of etcd's data of earlier upgrades, which it never removes. They are no backups.",
			Do: "Remove /etc/kubernetes/tmp/kubeadm-backup-etcd-*."},

		{Name: CertificateExpired, Severity: cluster.Blocker, Meaning: "A certificate has expired: what uses it does not work.",
			Do: "kubeadm certs renew all on that host, then restart the static pods; an authority has to be replaced by hand."},
		{Name: CertificateUnused, Severity: cluster.Info, Meaning: "A certificate has expired that the upgrade does without: the one that kubelets sign themselves, or one that kubeadm does not make.",
			Do: "Look whether something still uses it."},
		{Name: CertificateExpires, Severity: cluster.Warning, Meaning: "A certificate expires within 30 days.",
			Do: "See the message: the upgrade of a control plane renews those that kubeadm manages."},

		{Name: GateRemoved, Severity: cluster.Blocker, Meaning: "A feature gate is set that a version on the way does not know: the component would not start.",
			Do: "Take it out of kubeadm's ClusterConfiguration, or of the kubelets' configuration, first."},
		{Name: KubeletFlagRemoved, Severity: cluster.Warning, Meaning: "A kubelet is started with a flag that a version on the way does not know: it would not start. kubeadm takes it out of its own file, and of no other.",
			Do: "Take it out of /etc/default/kubelet, /etc/sysconfig/kubelet or the drop-in of its unit."},
		{Name: CgroupV1, Severity: cluster.Blocker, Meaning: "A host has control groups of version 1, on which kubelets from 1.35 on do not start unless they are told to.",
			Do: "Move the host to cgroup v2, or set failCgroupV1: false in the kubelet's configuration."},
		{Name: CgroupV1Preflight, Severity: cluster.Warning, Meaning: "kubeadm's preflight check SystemVerification fails on hosts with control groups of version 1 and a kubelet from 1.35 on, also if the kubelet allows them.",
			Do: "Move the host to cgroup v2, or have kubeadm ignore that check: --ignore-preflight-errors=SystemVerification."},
		{Name: APIRemoved, Severity: cluster.Blocker, Meaning: "Somebody asks for an API that a version on the way does not have any more, as counted by the API server since it started.",
			Do: "Find who with the audit log, and move them to the newer API; say --allow-removed-apis if nobody needs them."},
		{Name: APIDeprecated, Severity: cluster.Info, Meaning: "Somebody asks for a deprecated API that is still there after the upgrade.", Do: "Move them to the newer API in time."},
		{Name: StoredVersionGone, Severity: cluster.Warning, Meaning: "Objects of a custom resource may be stored in a version that is not served any more, or is deprecated.",
			Do: "Have the objects rewritten (StorageVersionMigration), then take the version out of status.storedVersions."},

		{Name: NodeNotUp, Severity: cluster.Blocker, Meaning: "A node that has to move is not Ready: nobody could tell whether the upgrade did it harm.",
			Do: "Bring it back, or delete the Node object if the machine is gone for good."},
		{Name: EtcdMember, Severity: cluster.Blocker, Meaning: "A member of etcd is not ready. While another one restarts, the others may be too few.",
			Do: "Bring the member back first."},
		{Name: EtcdSingle, Severity: cluster.Warning, Meaning: "There is one member of etcd: if its data is lost, so is the cluster.", Do: "Have a backup: refit upgrade apply takes one first, unless --no-backup is said."},
		{Name: BackupKnown, Severity: cluster.Info, Meaning: "A backup of this cluster was proven from this machine before: how old it is, and where it was.", Do: "Look whether it is still there (refit backup verify)."},
		{Name: BackupNone, Severity: cluster.Warning, Meaning: "No backup of this cluster was proven from this machine, and --no-backup is said; a piece of information only if one is taken first.",
			Do: "Leave --no-backup out, or prove the backup that you have: refit backup verify."},
		{Name: EtcdAlarm, Severity: cluster.Blocker, Meaning: "etcd has raised an alarm: NOSPACE, because its database has reached its quota, so that nothing can be written; or CORRUPT, because members differ.",
			Do: "For NOSPACE: compact, defragment and disarm (https://etcd.io/docs/latest/op-guide/maintenance/); for CORRUPT: replace the member that differs, or restore a backup."},
		{Name: EtcdSize, Severity: cluster.Warning, Meaning: "The database of etcd has more than 80% of its quota. When it reaches that, nothing can be written any more.",
			Do: "Compact and defragment it, find out what fills it, or raise --quota-backend-bytes."},
		{Name: EtcdUnseen, Severity: cluster.Info, Meaning: "Alarms of etcd, the health of its members and the size of its database were not looked at: a machine was not, or its SSH server forwards no connections, or etcd tells them at no plain address.",
			Do: "etcdctl endpoint status, endpoint health and alarm list on a control plane."},
		{Name: EtcdUnasked, Severity: cluster.Blocker, Meaning: "There are several members of etcd that are services of systemd, and whether one of them takes part cannot be asked. While another one restarts, the others may be too few.",
			Do: "Start it with --listen-metrics-urls=http://127.0.0.1:2381, or have the API server on its machine name it in --etcd-servers, by an address of the machine."},
		{Name: EtcdStep, Severity: cluster.Blocker, Meaning: "The etcd of a release cannot take the place of the one that runs: etcd goes one minor at a time, and not back.",
			Do: "Put an etcd of the next minor into the source, or take it out: then it stays as it is. Make the plan again."},
		{Name: ServerUnwell, Severity: cluster.Blocker, Meaning: "An API server says that it is not alive or not ready. While another one restarts, nobody may answer.",
			Do: "Look at its log (crictl logs), and bring it back first."},
		{Name: WebhookRefuses, Severity: cluster.Blocker, Meaning: "A fail-closed webhook sees what kubeadm and the control plane write, and has nobody behind it: those writes are refused.",
			Do: "Bring its pods back, or delete the webhook configuration if it is a leftover."},
		{Name: WebhookSeesThese, Severity: cluster.Warning, Meaning: "A fail-closed webhook sees what kubeadm and the control plane write: if its pods are away, so is the upgrade.",
			Do: "Exclude kube-system with a namespaceSelector, or set failurePolicy: Ignore."},

		{Name: FlagMissing, Severity: cluster.Blocker, Meaning: "A drain refuses pods of a node: local data would be lost, or nobody would replace them.",
			Do: "Allow it with the flag that the message names."},
	}
}

// AllCodes lists what a plan can tell, those of other packages among it.
func AllCodes() []cluster.Code {
	all := Codes()
	for _, c := range check.Codes() {
		for _, name := range append(reused(), check.NodeCordoned, cluster.CodeUnread, cluster.CodeTorn) {
			if c.Name == name {
				all = append(all, c)
			}
		}
	}
	return append(all,
		cluster.Code{Name: plan.NeverEvicted, Severity: cluster.Blocker, Meaning: "No eviction of a pod will ever be granted: its budget never lets one go, or it has two.",
			Do: "Widen the budget, or run more replicas."},
		cluster.Code{Name: plan.BudgetSyncFailed, Severity: cluster.Blocker, Meaning: "The disruption controller cannot compute a budget, and allows nothing until it can.",
			Do: "Give minAvailable as a number: percentages and maxUnavailable need pods whose controller has a scale."},
		cluster.Code{Name: plan.NodeNeverEmptied, Severity: cluster.Blocker, Meaning: "The node cannot be emptied, nor any other, and waiting does not help.", Do: "Repair what the message names."},
		cluster.Code{Name: plan.NoPlace, Severity: cluster.Warning, Meaning: "Pods that have to leave a node will find no place at that time, and wait until there is one.",
			Do: "Add room where the pods may run, take fewer nodes at once, or accept that they wait."},
		cluster.Code{Name: plan.NodeNotFinished, Severity: cluster.Warning, Meaning: "A node cannot be started, or not be finished, unless something changes that is not refit's to change.",
			Do: "Repair what the message names."},
	)
}
