#!/bin/bash
# Has the program $1 write what belongs below /usr/share into the folder $2: the manual,
# and what completes commands in shells.
set -euo pipefail
program=$1 share=$2
mkdir -p "$share/man/man1" "$share/bash-completion/completions" "$share/zsh/vendor-completions" "$share/fish/vendor_completions.d"
"$program" man "$share/man/man1" >/dev/null
gzip --no-name --best "$share"/man/man1/*.1
"$program" completion bash >"$share/bash-completion/completions/legate"
"$program" completion zsh >"$share/zsh/vendor-completions/_legate"
"$program" completion fish >"$share/fish/vendor_completions.d/legate.fish"
