#!/usr/bin/env bash
# What a registrator does: it tells the agent what runs on this machine, again
# and again, and takes away what no longer does. Arguments: host and port of the
# agent.
set -euo pipefail
agent=http://$1:$2/v1
owner=registrator:$$

fail() { echo "$*" >&2; exit 1; }
put() { curl -sS --fail-with-body -X PUT -d "${2:-}" "$agent/$1"; }
get() { curl -sS --fail-with-body "$agent/$1"; }

# expect compares what a jq program makes of a path's answer.
expect() {
	local got
	got=$(get "$1" | jq -r "$2")
	[[ $got == "$3" ]] || fail "$1 $2: got $got, want $3"
}

# eventually is expect with patience.
eventually() {
	local got deadline=$((SECONDS + 30))
	while got=$(get "$1" | jq -r "$2") && [[ $got != "$3" ]]; do
		((SECONDS < deadline)) || fail "$1 $2: still $got, want $3"
		sleep 0.1
	done
}

# register tells of one container, in the spelling of its number.
register() {
	local id=$owner:$1 port=$((20000 + $1))
	case $(($1 % 4)) in
	0) put agent/service/register "{\"ID\":\"$id\",\"Name\":\"reg-ttl\",\"Port\":$port,\"Tags\":[\"n$1\"],\"EnableTagOverride\":true,
		\"Check\":{\"TTL\":\"60s\",\"Status\":\"passing\",\"DeregisterCriticalServiceAfter\":\"10m\"}}" ;;
	1) put agent/service/register "{\"id\":\"$id\",\"name\":\"reg-ttl\",\"port\":$port,\"tags\":[\"n$1\"],\"enable_tag_override\":true,
		\"check\":{\"ttl\":\"60s\",\"status\":\"passing\",\"deregister_critical_service_after\":\"10m\"}}" ;;
	2) put agent/service/register "{\"ID\":\"$id\",\"Name\":\"reg-http\",\"Port\":$port,\"Meta\":{\"n\":\"$1\"},
		\"Checks\":[{\"CheckID\":\"$id:http\",\"HTTP\":\"$agent/status/leader\",\"Interval\":\"1s\",\"Timeout\":\"2s\",\"TLSSkipVerify\":true,\"Header\":{\"X-A\":[\"b\"]}}]}" ;;
	3) put agent/service/register "{\"id\":\"$id\",\"name\":\"reg-http\",\"port\":$port,\"meta\":{\"n\":\"$1\"},\"tagged_addresses\":{\"wan\":{\"address\":\"192.0.2.1\",\"port\":1}},
		\"checks\":[{\"check_id\":\"$id:http\",\"http\":\"$agent/status/leader\",\"interval\":\"1s\",\"timeout\":\"2s\",\"tls_skip_verify\":true,\"header\":{\"X-A\":[\"b\"]},\"success_before_passing\":0}]}" ;;
	esac
}

count=12
for ((i = 0; i < count; i++)); do register $i; done
mine="[.[] | select(.ID | startswith(\"$owner\"))]"
expect agent/services "$mine | length" $count
expect agent/services "[$mine[] | select(.EnableTagOverride) | .Service] | unique | join(\",\")" reg-ttl
expect "agent/service/$owner:3" '.TaggedAddresses.wan | "\(.Address):\(.Port)"' 192.0.2.1:1
expect agent/checks "[.[] | select(.ServiceID | startswith(\"$owner\"))] | length" $count
eventually 'health/service/reg-ttl?passing' length $((count / 2))
eventually 'health/service/reg-http?passing' length $((count / 2))
eventually 'health/service/reg-http?passing&filter=Service.Meta.n==2' '.[].Service.ID' "$owner:2"

# The same again changes nothing: not the services, not what is in the catalog,
# not the result of a check.
before=$(get catalog/service/reg-ttl | jq -c 'map([.ServiceID, .ModifyIndex]) | sort')
for ((i = 0; i < count; i++)); do register $i; done
expect agent/services "$mine | length" $count
expect 'health/service/reg-ttl?passing' length $((count / 2))
expect 'health/service/reg-http?passing' length $((count / 2))
after=$(get catalog/service/reg-ttl | jq -c 'map([.ServiceID, .ModifyIndex]) | sort')
[[ $before == "$after" ]] || fail "registering the same again writes: $before, then $after"

# A heartbeat of each, then one that stops.
for id in $(get agent/services | jq -r "$mine[] | select(.Service == \"reg-ttl\") | .ID"); do
	put "agent/check/pass/service:$id"
done
put "agent/check/fail/service:$owner:0?note=gone"
eventually 'health/service/reg-ttl?passing' length $((count / 2 - 1))
eventually health/checks/reg-ttl ".[] | select(.ServiceID == \"$owner:0\") | .Output" gone

# Four containers are still there: whatever else is mine dangles.
alive=("$owner:0" "$owner:1" "$owner:2" "$owner:3")
for id in $(get agent/services | jq -r "$mine[].ID"); do
	[[ " ${alive[*]} " == *" $id "* ]] || put "agent/service/deregister/$id"
done
expect agent/services "$mine | length" 4
eventually catalog/service/reg-ttl length 2
eventually catalog/service/reg-http length 2
for id in "${alive[@]}"; do put "agent/service/deregister/$id"; done
expect agent/services "$mine | length" 0
eventually catalog/services '[keys[] | select(startswith("reg-"))] | length' 0
[[ $(curl -sS -o /dev/null -w '%{http_code}' -X PUT "$agent/agent/service/deregister/$owner:0") == 404 ]] || fail "what is gone can be deregistered"
echo all is well
