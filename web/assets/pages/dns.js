// What DNS answers to a name, how the name was read, and why the answer is what it is.
import { html, useEffect, useState } from '../lib/dom.js'
import { types } from '../lib/dns.js'
import { plural } from '../lib/fmt.js'
import { setSearch } from '../lib/router.js'
import { settings } from '../lib/settings.js'
import { Failure, Empty, Loading } from '../parts/notice.js'
import { pathOfName, Records, useExplained, Verdict } from '../parts/lookup.js'

const Parts = ({ of }) => html`<section class="panel" aria-labelledby="read"><h2 id="read">How the name is read</h2>
  <dl class="parts">${of.map((p, i) => html`<div key=${i}><dt class="mono">${p.Text}</dt><dd>${p.Means}</dd></div>`)}</dl></section>`

const Reasons = ({ of }) => html`<section class="panel" aria-labelledby="why"><h2 id="why">Why</h2>
  ${of.length ? html`<ul class="reasons">${of.map(w => html`<li key=${w}>${w}</li>`)}</ul>`
    : html`<p>Nothing about it is unusual: what the name says was found, and all of it is in the answer.</p>`}</section>`

function Explained({ name, type }) {
  const { data, error, meta } = useExplained(name, type)
  if (!data) return error ? html`<${Failure} error=${error} />` : html`<${Loading} what=${name} />`
  const more = data.Additional
  return html`${error && html`<${Failure} error=${error} kept=${meta} />`}
    <section class="panel" aria-labelledby="answer"><h2 id="answer">Answer</h2><div role="status"><${Verdict} of=${data} /></div>
      ${data.Answer.length > 0 && html`<${Records} of=${data.Answer} label="Records of the answer" />`}
      ${more.length > 0 && html`<details class="along"><summary>Sent along: ${plural(more.length, 'record')}</summary>
        <${Records} of=${more} label="Records sent along" /></details>`}
    </section>
    <div class="split"><${Parts} of=${data.Read.Parts} /><${Reasons} of=${data.Why} /></div>`
}

const examples = [
  [`consul.service.${settings.domain}`, 'A', 'the servers here'],
  [`consul.service.all.${settings.domain}`, 'SRV', 'the servers of all datacenters, with ports'],
  [`consul.service.nearest.${settings.domain}`, 'A', 'from the nearest datacenter that has some'],
  [`${settings.node}.node.${settings.domain}`, 'A', 'this agent'],
]

const Examples = () => html`<${Empty} title="Which name?"><p>Some to begin with:</p>
  <ul class="plain">${examples.map(([name, type, what]) => html`<li key=${name}>
    <a class="mono" href=${pathOfName(name, type)}>${name}</a> <span class="muted">${what}</span></li>`)}</ul></${Empty}>`

export function DNSPage({ route }) {
  const name = route.search.get('name') ?? '', type = route.search.get('type') ?? 'A', [text, setText] = useState(name)
  useEffect(() => setText(name), [name])
  const look = e => {
    e.preventDefault()
    setSearch({ name: text.trim(), type })
  }
  return html`<div class="title"><h1>DNS</h1>
      <p class="muted">What this agent answers to a name, with the rights of your token, and why.
        Clients of DNS are answered with those of the agent.</p></div>
    <form class="ask" onSubmit=${look} novalidate>
      <label class="grow">Name <input type="text" class="mono" data-search value=${text} onInput=${e => setText(e.target.value)}
        placeholder=${`web.service.${settings.domain}`} spellcheck=${false} autocomplete="off" autocapitalize="none" /></label>
      <label>Type <select value=${type} onChange=${e => setSearch({ type: e.target.value })}>
        ${types.map(t => html`<option key=${t} value=${t}>${t === 'ANY' ? 'ANY (all)' : t}</option>`)}</select></label>
      <button type="submit" class="primary">Look up</button></form>
    ${name ? html`<${Explained} key=${name + ' ' + type} name=${name} type=${type} />` : html`<${Examples} />`}`
}
