#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# What the driver says of QGS is what a VM finds: by its rights, the socket's mode and owner, and QGS's version; links,
# directories and remedies.

export RIGHTS=manifest

setup_file() {
        load scenario
        load plays
        load qgs
        play_all
}
setup() { load scenario; load plays; load qgs; }

# The directory's mode, the socket's and its owner; what the driver says, and words of its reason. Those that answer
# come first: recoveries are rationed.
combinations() {
        cat <<'END'
0755 0660 991:990  answering
0755 0666 991:990  answering
0750 0660 991:990  answering
0750 0666 991:990  answering
0755 0600 991:990  refused    the socket .* is 0600 991:990: .*UMask
0755 0755 991:990  refused    the socket .* is 0755 991:990: .*UMask
0755 0660 0:0      refused    the socket .* is 0660 0:0: .*root's group
0750 0660 991:36   refused    of group 36 in a directory of group 990
0700 0660 991:990  refused    the directory of .* is 0700 991:990: .*RuntimeDirectoryMode
0700 0666 991:990  refused    the directory of .* is 0700 991:990: .*RuntimeDirectoryMode
END
}

combine() { # DIRECTORY-MODE SOCKET-MODE OWNER
        chmod "$1" "$(dirname "$QGS")"
        chown "$3" "$QGS"
        chmod "$2" "$QGS"
}

# What the slice has, and the last line of log about QGS.
finds() { # STATE PATTERN
        is_in_state "$1"
        grep -E "qgs=|QGS answers" "$T/driver.log" | tail -n 1 | grep -E "qgs=$1 .*$2"
}

finds_it_answering() { # COMMAND...: which makes it so
        asked_again "$@"
        is_answering
        attest tdx0
        is_answering
}
finds_it_refused() { # PATTERN
        eventually 30 finds refused "$1"
        attests_not tdx0 "Permission denied"
        finds refused "$1"
}

what_a_vm_finds() { # RIGHTS VERSION
        local directory mode owner state pattern
        RIGHTS=$1
        start_packaged_qgs "$2"
        combine 0755 0660 $QGSD
        driver --serve dra --attestation enforced
        eventually 30 is_answering
        prepare vm tdx0
        while read -r directory mode owner state pattern; do
                echo "$directory $mode $owner: $state"
                if [ "$state" = answering ]; then
                        finds_it_answering combine "$directory" "$mode" "$owner"
                else
                        combine "$directory" "$mode" "$owner"
                        finds_it_refused "$pattern"
                fi
        done < <(combinations)
        combine 0750 0660 $QGSD
        eventually 60 is_answering
        end qgs KILL || true
        eventually 40 is_in_state stale
        attests_not tdx0 "Connection refused"
}
@test "with the manifest's rights, the state is what the VM finds, by mode and owner, dead and alive, beside QGS 1.25" {
        went_well what_a_vm_finds manifest 1.25
}
@test "with the manifest's rights, the state is what the VM finds, by mode and owner, dead and alive, beside QGS 1.26" {
        went_well what_a_vm_finds manifest 1.26
}
@test "with root's rights, the state is what the VM finds, by mode and owner, dead and alive, beside QGS 1.25" {
        went_well what_a_vm_finds root 1.25
}
@test "with root's rights, the state is what the VM finds, by mode and owner, dead and alive, beside QGS 1.26" {
        went_well what_a_vm_finds root 1.26
}

not_in_the_group() {
        RIGHTS=manifest-SETGID
        start_packaged_qgs 1.26
        driver --serve dra --attestation enforced --listen 127.0.0.1:0
        eventually 30 is_in_state not-tried
        says driver 'is not in group 990 and has no CAP_SETGID'
        says driver "or 990 to its pod's supplementalGroups"
        metric tdx_attesting 0
        prepare vm tdx0
        attest tdx0
        if says driver "QGS answers"; then return 1; fi
        counts platform-info 0
}
@test "a socket that the VM may open and the driver may not is not tried, and neither answers nor fails" {
        went_well not_in_the_group
}

in_the_group_by_the_pod() {
        export RIGHTS=manifest-SETGID POD_GROUPS=990
        start_packaged_qgs 1.26
        driver --serve dra --attestation enforced
        eventually 30 is_answering
        end qgs KILL || true
        eventually 40 is_in_state stale
}
@test "without CAP_SETGID the pod's supplementalGroups do" {
        went_well in_the_group_by_the_pod
}

packaged() { # VERSION
        start_packaged_qgs "$1"
        driver --serve dra --attestation enforced
        if [ "$1" = 1.25 ]; then eventually 30 is_in_state refused; else eventually 30 is_answering; fi
        prepare vm tdx0
        if [ "$1" = 1.25 ]; then attests_not tdx0 "Permission denied"; else attest tdx0; fi
}
@test "QGS 1.25 as its package has it is refused, as its VMs are" {
        went_well packaged 1.25
}
@test "QGS 1.26 as its package has it answers, and a VM attests by the group that CDI gives it" {
        went_well packaged 1.26
}

recreated_directory() {
        start_packaged_qgs 1.26
        driver --serve dra --attestation enforced
        eventually 30 is_answering
        prepare old tdx0
        mkfifo "$T/go"
        in_container tdx0 sh -c "'$SIM/vm-sim' --socket '$QGS'; cat; '$SIM/vm-sim' --socket '$QGS'" \
                <"$T/go" >"$T/old.log" 2>&1 &
        local old=$!
        exec 6>"$T/go"
        said old '^quote of' 20
        asked_again qgs recreate-dir
        eventually 30 is_answering
        exec 6>&-
        if wait $old; then cat "$T/old.log"; return 1; fi
        cat "$T/old.log"
        grep '^no quote from .*: No such file or directory' "$T/old.log"
        prepare new tdx1
        attest tdx1
}
@test "after QGS's directory is recreated a VM that runs has the dead one, and the next one attests" {
        went_well recreated_directory
}

made_by_the_driver() {
        driver --serve dra --attestation enforced
        eventually 30 is_in_state absent
        prepare vm tdx0 # which makes the directory, for the mount
        [ "$(stat -c %u:%g "$(dirname "$QGS")")" = 0:0 ]
        said driver "the directory belongs to root.*chown it" 30
        start qgs "$SIM/qgs-sim" --socket "$QGS" --control "$T/qgs.ctl" --user $QGSD --mode own
        said qgs 'bind: Permission denied' 20
        end qgs || true
        chown $QGSD "$(dirname "$QGS")"
        start_qgs --user $QGSD --mode own
        eventually 30 is_answering
        attest tdx0
}
@test "QGS cannot bind in the directory that the driver created: the reason says chown, and then it can" {
        went_well made_by_the_driver
}

links() {
        local directory elsewhere=$T/host/run/elsewhere
        directory=$(dirname "$QGS")
        mkdir -p "$elsewhere"
        start qgs "$SIM/qgs-sim" --socket "$directory/real.socket" --control "$T/qgs.ctl"
        eventually 10 qgs requests
        ln -s real.socket "$QGS"
        driver --serve dra --attestation enforced
        eventually 30 is_answering
        prepare vm tdx0
        attest tdx0
        finds_it_answering ln -sfn "$directory/real.socket" "$QGS"

        start qgs2 "$SIM/qgs-sim" --socket "$elsewhere/qgs.socket" --control "$T/qgs2.ctl"
        eventually 10 test -S "$elsewhere/qgs.socket"
        ln -sfn "$elsewhere/qgs.socket" "$QGS"
        eventually 30 finds refused "a link out of its directory"
        attests_not tdx0 "No such file or directory"
        ln -sfn nothing "$QGS"
        eventually 30 finds absent "a link to nothing: remove it"
        attests_not tdx0 "No such file or directory"
}
@test "a link in place of the socket is followed as the VM's container will, and the reason says what it is" {
        went_well links
}

on_vsock() {
        driver --serve dra --attestation enforced
        eventually 30 is_in_state absent
        says driver 'it may listen on vsock: comment out port in /etc/qgs.conf'
        eventually 20 sh -c "'$SIM/ctl' '$T/api.ctl' events | grep -q 'listen on vsock'"
}
@test "the remedy names vsock, if a QGS that runs has no socket" {
        went_well on_vsock
}
