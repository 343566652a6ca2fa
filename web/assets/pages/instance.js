// One instance of a service.
import { html } from '../lib/dom.js'
import { useFeeds } from '../lib/feed.js'
import { path } from '../lib/router.js'
import { hostPort } from '../lib/fmt.js'
import { State } from '../parts/state.js'
import { Failure, Empty, Loading, Aged } from '../parts/notice.js'
import { Checks, Tags, Facts, Meta, stateOf } from '../parts/checks.js'
import { Copy } from '../parts/copy.js'

export function InstancePage({ route: { dc, name, node, id } }) {
  const [state] = useFeeds([{ path: 'health/service/' + encodeURIComponent(name), params: { dc, cached: true } }])
  const found = state.data?.find(i => i.Node.Node === node && i.Service.ID === id), s = found?.Service
  return html`
    <div class="title"><p class="crumbs"><a href=${path('services')}>Services</a> / <a href=${path(dc, 'services')}>${dc}</a> / <a href=${path(dc, 'services', name)}>${name}</a></p><h1>${id}</h1>
      ${found && html`<p class="headline"><${State} state=${stateOf(found.Checks)} /><span>on <a href=${path(dc, 'nodes', node)}>${node}</a> in ${dc}</span></p>`}</div>
    ${state.error && html`<${Failure} error=${state.error} kept=${state.data && state.meta} />`}<${Aged} of=${[{ dc, state }]} />
    ${!found ? (state.data ? html`<${Empty} title=${`There is no instance ${id} on ${node}`}><p>It may have been deregistered, or your token may not see it. <a href=${path(dc, 'services', name)}>All instances of ${name}</a></p></${Empty}>` : !state.error && html`<${Loading} what="the instance" />`)
      : html`<section class="panel"><h2>Instance</h2><${Facts} of=${[['Address', html`<${Copy} text=${hostPort(s.Address || found.Node.Address, s.Port)} />`], ['Service', s.Service], ['ID', s.ID], ['Kind', s.Kind],
          ['Weights', s.Weights && `${s.Weights.Passing} passing, ${s.Weights.Warning} warning`], ['Tags', s.Tags?.length ? html`<span class="tags"><${Tags} of=${s.Tags} /></span>` : 'none'],
          ...Object.entries(s.TaggedAddresses ?? {}).map(([k, a]) => [`Address ${k}`, hostPort(a.Address, a.Port)]), ['Changed at index', s.ModifyIndex]]} /></section>
        <section class="panel"><h2>Checks</h2><${Checks} of=${found.Checks} /></section><${Meta} of=${s.Meta} />`}`
}
