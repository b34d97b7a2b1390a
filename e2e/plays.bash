# SPDX-License-Identifier: Apache-2.0
# For scenarios that mostly wait for clocks: all of a file run at the same time, each on its own node, and a
# test only reports how its play went. Sourced by *.bats, after scenario.bash.
#
#   a_play() { ...; }                          enter_node is done before, leave_node after
#   @test "..." { went_well a_play [ARGUMENT...]; }
# shellcheck shell=bash

AT_ONCE=${AT_ONCE:-8}

outcome_of() { echo "$OUTCOMES/${*// /_}"; } # PLAY [ARGUMENT...]

play_all() { # in setup_file
        export OUTCOMES=$BATS_FILE_TMPDIR
        local words
        while read -r -a words; do
                while [ "$(jobs -pr | wc -l)" -ge "$AT_ONCE" ]; do wait -n || true; done
                play "${words[@]}" 3>&- 4>&- &
        done < <(sed -nE 's/^ *went_well ([a-z0-9_ .:-]+)$/\1/p' "$BATS_TEST_FILENAME")
        wait || true
}

play() { # PLAY [ARGUMENT...]: the file of its outcome ends with a line "well" if it went well
        set -eE
        trap 'echo "in line $LINENO: $BASH_COMMAND"' ERR
        trap 'leave_play $? >&5 2>&1' EXIT
        exec 5>"$(outcome_of "$@")" >&5 2>&5
        enter_node 4
        "$@"
}

leave_play() { # STATUS
        local well=$1
        trap - ERR EXIT
        [ "$well" -eq 0 ] || tail -n 40 "$T"/{driver,qgs}.log
        leave_node || well=1
        [ "$well" -ne 0 ] || echo well
}

went_well() { # PLAY [ARGUMENT...]
        local outcome
        outcome=$(outcome_of "$@")
        [ "$(tail -n 1 "$outcome")" = well ] || { cat "$outcome"; return 1; }
}
