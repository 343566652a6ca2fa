// Keys of one datacenter: folders, and values that are changed only as they were read.
import { html, useMemo } from '../lib/dom.js'
import { useFeed } from '../lib/feed.js'
import { exact, folderOf, isFolder, unasked, urlOf } from '../lib/kv.js'
import { pathOfKey } from '../lib/router.js'
import { plural } from '../lib/fmt.js'
import { settings } from '../lib/settings.js'
import { decode } from '../lib/value.js'
import { Facts } from '../parts/checks.js'
import { useDatacenters } from '../parts/dcs.js'
import { Folder } from '../parts/keylist.js'
import { KeyTitle } from '../parts/keyname.js'
import { Lock } from '../parts/lock.js'
import { Empty, Failure, Loading } from '../parts/notice.js'
import { Copied } from '../parts/replication.js'
import { Value } from '../parts/value.js'

const About = ({ entry, bytes }) => html`<section class="panel" aria-labelledby="about"><h2 id="about">Key</h2><${Facts} of=${[
  ['Size', plural(bytes.length, 'byte')], ['Flags', String(entry.Flags)],
  ['Created at index', entry.CreateIndex.toLocaleString('en')], ['Changed at index', entry.ModifyIndex.toLocaleString('en')]]} /></section>`

const Missing = ({ dc, name }) => html`<${Empty} title="There is no such key">
  <p>It may have been deleted. <a href=${pathOfKey(dc, folderOf(name))}>What is beside it</a></p></${Empty}>`

function Entry({ dc, name }) {
  const state = useFeed(urlOf(name), { dc }, { missing: true, parse: exact })
  const entry = state.data?.[0], bytes = useMemo(() => decode(entry?.Value), [entry?.Value])
  if (state.data === undefined) return state.error ? html`<${Failure} error=${state.error} />` : html`<${Loading} what="the key" />`
  return html`${state.error && html`<${Failure} error=${state.error} kept=${state.meta} />`}
    ${!entry ? html`<${Missing} dc=${dc} name=${name} />` : html`<${Copied} dc=${dc} name=${name} />
      <${Value} dc=${dc} name=${name} entry=${entry} bytes=${bytes} />
      <div class="split even"><${Lock} dc=${dc} entry=${entry} /><${About} entry=${entry} bytes=${bytes} /></div>`}`
}

function Key({ dc, name }) {
  const why = unasked(name)
  return html`<${KeyTitle} dc=${dc} of=${name} title=${name} />
    ${why ? html`<${Empty} title="This key cannot be shown"><p>${why}</p></${Empty}>` : html`<${Entry} dc=${dc} name=${name} />`}`
}

export function KeysPage({ route }) {
  const all = useDatacenters(), dc = route.dc ?? settings.datacenter, key = route.search.get('key') ?? route.key ?? ''
  return isFolder(key) ? html`<${Folder} key=${dc + key} dc=${dc} folder=${key} all=${all} route=${route} />`
    : html`<${Key} key=${dc + key} dc=${dc} name=${key} />`
}
