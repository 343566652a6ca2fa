"""What users of Debian's python3-consul do. Arguments: host, port of an agent; another datacenter."""
import sys
import threading
import time

import consul
from consul.base import CB

host, port, other = sys.argv[1], int(sys.argv[2]), sys.argv[3]
c = consul.Consul(host=host, port=port)
node = c.agent.self()["Config"]["NodeName"]


def expect(what, got, want):
    if got != want:
        sys.exit("%s: got %r, want %r" % (what, got, want))


def until(what, look):
    deadline = time.monotonic() + 30
    while True:
        got = look()
        if got:
            return got
        if time.monotonic() > deadline:
            sys.exit("not in time: " + what)
        time.sleep(0.05)


def put(path):
    """This client calls with GET what has been PUT for years, so its own HTTP client is asked."""
    return c.http.put(CB.bool(), path)


def key_value():
    expect("a key that nobody wrote", c.kv.get("py/none")[1], None)
    expect("put", c.kv.put("py/a", "one", flags=7), True)
    expect("put bytes", c.kv.put("py/b/1", b"\x00\xff"), True)
    index, pair = c.kv.get("py/a")
    expect("value", (pair["Value"], pair["Flags"], pair["Key"]), (b"one", 7, "py/a"))
    expect("bytes", c.kv.get("py/b/1")[1]["Value"], b"\x00\xff")
    expect("keys", c.kv.get("py/", keys=True, separator="/")[1], ["py/a", "py/b/"])
    expect("recurse", [p["Key"] for p in c.kv.get("py/", recurse=True)[1]], ["py/a", "py/b/1"])
    expect("cas, stale", c.kv.put("py/a", "x", cas=pair["ModifyIndex"] - 1), False)
    expect("cas", c.kv.put("py/a", "two", cas=pair["ModifyIndex"]), True)
    index, pair = c.kv.get("py/a", consistency="consistent")
    threading.Timer(0.3, lambda: consul.Consul(host=host, port=port).kv.put("py/a", "three")).start()
    begin = time.monotonic()
    newer, pair = c.kv.get("py/a", index=index, wait="20s")
    expect("what a wait returns", pair["Value"], b"three")
    expect("the index moved", int(newer) > int(index), True)
    expect("the wait was one", 0.2 < time.monotonic() - begin < 10, True)
    begin = time.monotonic()
    expect("a wait for nothing", c.kv.get("py/a", index=newer, wait="300ms")[0], newer)
    expect("took its time", time.monotonic() - begin >= 0.3, True)
    expect("put elsewhere", c.kv.put("py/far", "away", dc=other), True)
    expect("get elsewhere", c.kv.get("py/far", dc=other)[1]["Value"], b"away")
    expect("not here", c.kv.get("py/far")[1], None)
    expect("delete", c.kv.delete("py/", recurse=True), True)
    expect("deleted", c.kv.get("py/", recurse=True)[1], None)


def catalog():
    expect("register", c.catalog.register("py-ext", "198.51.100.20", service={
        "service": "py-db", "id": "py-db-1", "tags": ["primary"], "port": 5432,
    }, check={"name": "py db", "checkid": "py-db", "status": "passing", "serviceid": "py-db-1"}), True)
    _, list = c.catalog.service("py-db", tag="primary")
    expect("instance", [(s["Node"], s["Address"], s["ServicePort"], s["ServiceTags"]) for s in list],
           [("py-ext", "198.51.100.20", 5432, ["primary"])])
    expect("services", c.catalog.services()[1]["py-db"], ["primary"])
    expect("nodes", "py-ext" in [n["Node"] for n in c.catalog.nodes(near=node)[1]], True)
    expect("node", sorted(c.catalog.node("py-ext")[1]["Services"]), ["py-db-1"])
    expect("no node", c.catalog.node("py-nobody")[1], None)
    expect("datacenters", sorted(c.catalog.datacenters()), sorted({"dc1", other}))
    index, list = c.health.service("py-db", passing=True)
    expect("passes", len(list), 1)
    expect("checks", [k["Status"] for k in c.health.checks("py-db")[1]], ["passing"])
    expect("checks of a node", [k["CheckID"] for k in c.health.node("py-ext")[1]], ["py-db"])
    expect("deregister", c.catalog.deregister("py-ext", check_id="py-db"), True)
    expect("deregister", c.catalog.deregister("py-ext"), True)
    _, list = c.health.service("py-db", passing=True, index=index, wait="10s")
    expect("gone", list, [])


def agent():
    expect("register", c.agent.service.register("py-web", service_id="py-web-1", address=host, port=8080, tags=["a", "b"],
                                                check=consul.Check.http("http://%s:%d/v1/status/leader" % (host, port), "1s", timeout="1s", deregister="10m"),
                                                enable_tag_override=True), True)
    service = c.agent.services()["py-web-1"]
    expect("service", (service["Service"], service["Port"], service["Tags"], service["EnableTagOverride"]), ("py-web", 8080, ["a", "b"], True))
    until("the HTTP check passes", lambda: c.health.service("py-web", passing=True, tag="b")[1])
    expect("register tcp", c.agent.check.register("py tcp", consul.Check.tcp(host, port, "1s"), check_id="py-tcp", service_id="py-web-1"), True)
    expect("register ttl", c.agent.check.register("py ttl", consul.Check.ttl("60s"), check_id="py-ttl", notes="mine"), True)
    expect("checks", {"py-tcp", "py-ttl", "service:py-web-1"} <= set(c.agent.checks()), True)
    expect("service of the check", c.agent.checks()["py-tcp"]["ServiceID"], "py-web-1")
    put("/v1/agent/check/pass/py-ttl")
    expect("ttl", c.agent.checks()["py-ttl"]["Status"], "passing")
    until("it is in the catalog", lambda: [k for k in c.health.node(node)[1] if k["CheckID"] == "py-ttl" and k["Status"] == "passing"])
    put("/v1/agent/check/fail/py-ttl")
    until("state", lambda: [k for k in c.health.state("critical")[1] if k["CheckID"] == "py-ttl"])
    put("/v1/agent/check/pass/py-ttl")
    expect("maintenance", c.agent.service.maintenance("py-web-1", "true", "python"), True)
    until("in maintenance", lambda: c.health.service("py-web")[1] and not c.health.service("py-web", passing=True)[1])
    expect("maintenance", c.agent.service.maintenance("py-web-1", "false"), True)
    until("back", lambda: c.health.service("py-web", passing=True)[1])
    expect("deregister with GET", c.agent.service.deregister("py-web-1"), False)
    put("/v1/agent/check/deregister/py-ttl")
    put("/v1/agent/service/deregister/py-web-1")
    expect("services", "py-web-1" in c.agent.services(), False)
    until("it is gone", lambda: not c.health.service("py-web")[1])
    expect("members", sorted(m["Name"] for m in c.agent.members()), ["c1", "s1"])
    expect("leader", c.status.leader() in c.status.peers(), True)


key_value()
catalog()
agent()
print("all is well")
