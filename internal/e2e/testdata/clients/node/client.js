"use strict";
// What users of npm's consul do. Arguments: host, port of an agent; another datacenter.
const assert = require("node:assert");
const { setTimeout: pause } = require("node:timers/promises");
const Consul = require("consul");

const [host, port, other] = process.argv.slice(2);
const consul = new Consul({ host, port: Number(port) });

async function until(what, look) {
  const deadline = Date.now() + 30_000;
  for (;;) {
    if (await look()) return;
    if (Date.now() > deadline) throw new Error(`not in time: ${what}`);
    await pause(50);
  }
}

async function keyValue() {
  assert.equal(await consul.kv.get("npm/none"), undefined);
  assert.equal(await consul.kv.set({ key: "npm/a", value: "one", flags: 5 }), true);
  assert.equal(await consul.kv.set("npm/b/1", "two"), true);
  const pair = await consul.kv.get("npm/a");
  assert.deepEqual([pair.Value, pair.Flags, pair.Key], ["one", 5, "npm/a"]);
  assert.ok(Buffer.from("one").equals((await consul.kv.get({ key: "npm/a", buffer: true })).Value));
  assert.deepEqual(await consul.kv.keys("npm/"), ["npm/a", "npm/b/1"]);
  assert.deepEqual(await consul.kv.keys({ key: "npm/", separator: "/" }), ["npm/a", "npm/b/"]);
  assert.equal((await consul.kv.get({ key: "npm/", recurse: true })).length, 2);
  assert.ok(!(await consul.kv.set({ key: "npm/a", value: "x", cas: String(pair.ModifyIndex - 1) }))); // undefined for false
  assert.equal((await consul.kv.get("npm/a")).Value, "one");
  assert.equal(await consul.kv.set({ key: "npm/a", value: "y", cas: String(pair.ModifyIndex) }), true);
  assert.equal(await consul.kv.set({ key: "npm/far", value: "away", dc: other }), true);
  assert.equal((await consul.kv.get({ key: "npm/far", dc: other })).Value, "away");
  assert.equal(await consul.kv.get("npm/far"), undefined);
  assert.equal(await consul.kv.del({ key: "npm/", recurse: true }), true);
  await assert.rejects(consul.kv.get({ key: "npm/a", dc: "nowhere" }), /No path to datacenter/);
}

async function agent() {
  const name = "npm-web";
  await consul.agent.service.register({
    name, id: "npm-web-1", address: host, port: 8080, tags: ["v1"], meta: { lang: "js" },
    check: { http: `http://${host}:${port}/v1/status/leader`, interval: "1s", deregistercriticalserviceafter: "10m" },
  });
  assert.deepEqual((await consul.agent.service.list())["npm-web-1"].Meta, { lang: "js" });
  await consul.agent.check.register({ name: "npm ttl", id: "npm-ttl", ttl: "60s", notes: "mine", serviceid: "npm-web-1" });
  assert.equal((await consul.agent.check.list())["npm-ttl"].Status, "critical");
  await consul.agent.check.warn({ id: "npm-ttl", note: "so so" });
  assert.equal((await consul.agent.check.list())["npm-ttl"].Output, "so so");
  await consul.agent.check.pass("npm-ttl");
  await until("it passes", async () => (await consul.health.service({ service: name, passing: true })).length === 1);
  const [entry] = await consul.health.service({ service: name, tag: "v1" });
  assert.deepEqual([entry.Service.Port, entry.Service.Tags, entry.Node.Datacenter], [8080, ["v1"], "dc1"]);
  assert.ok((await consul.health.checks(name)).some((c) => c.CheckID === "npm-ttl"));
  assert.ok((await consul.health.state("passing")).some((c) => c.CheckID === "serfHealth"));
  assert.ok((await consul.health.node(entry.Node.Node)).some((c) => c.CheckID === "npm-ttl"));
  assert.equal((await consul.catalog.service.nodes(name))[0].ServicePort, 8080);
  assert.deepEqual((await consul.catalog.service.list())[name], ["v1"]);
  assert.ok((await consul.catalog.node.list()).some((n) => n.Node === entry.Node.Node));
  assert.ok((await consul.catalog.node.services(entry.Node.Node)).Services["npm-web-1"]);
  assert.deepEqual((await consul.catalog.datacenters()).sort(), ["dc1", other].sort());
  await consul.agent.service.maintenance({ id: "npm-web-1", enable: true, reason: "npm" });
  await until("in maintenance", async () => (await consul.health.service({ service: name, passing: true })).length === 0);
  await consul.agent.service.maintenance({ id: "npm-web-1", enable: false });
  await consul.agent.check.deregister("npm-ttl");
  await consul.agent.service.deregister("npm-web-1");
  await until("it is gone", async () => (await consul.health.service(name)).length === 0);
  assert.equal((await consul.agent.self()).Config.Datacenter, "dc1");
  assert.deepEqual((await consul.agent.members()).map((m) => m.Name).sort(), ["c1", "s1"]);
  assert.ok((await consul.status.peers()).includes(await consul.status.leader()));
}

// A watch tells at once what is there, then each change.
async function watches() {
  await consul.kv.set("npm/watched", "1");
  const values = [];
  const key = consul.watch({ method: consul.kv.get, options: { key: "npm/watched", wait: "10s" }, backoffFactor: 10 });
  key.on("error", (err) => { throw err; });
  key.on("change", (pair) => values.push(pair.Value));
  await until("what is there", () => values.length > 0);
  await consul.kv.set("npm/other", "x");
  await consul.kv.set("npm/watched", "2");
  await until("the change", () => values.at(-1) === "2");
  assert.deepEqual(values, ["1", "2"], "a change of another key is told");
  key.end();
  assert.equal(key.isRunning(), false);

  const seen = [];
  const service = consul.watch({ method: consul.health.service, options: { service: "npm-watched", passing: true, wait: "10s" } });
  service.on("error", (err) => { throw err; });
  service.on("change", (list) => seen.push(list.map((e) => e.Service.ID).sort().join()));
  await until("the first answer", () => seen.length === 1 && seen[0] === "");
  await consul.agent.service.register({ name: "npm-watched", id: "w1", port: 1 });
  await until("one", () => seen.at(-1) === "w1");
  await consul.agent.service.register({ name: "npm-watched", id: "w2", port: 2, check: { ttl: "60s", status: "passing" } });
  await until("two", () => seen.at(-1) === "w1,w2");
  await consul.agent.check.fail("service:w2");
  await until("one that passes", () => seen.at(-1) === "w1");
  await consul.agent.service.deregister("w1");
  await consul.agent.service.deregister("w2");
  await until("none", () => seen.at(-1) === "");
  service.end();
  await consul.kv.del({ key: "npm/", recurse: true });
}

(async () => {
  await keyValue();
  await agent();
  await watches();
  console.log("all is well");
  process.exit(0); // a watch that ended still has a question open
})().catch((err) => {
  console.error(err);
  process.exit(1);
});
