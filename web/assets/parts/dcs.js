// Which datacenters are looked at: one, several or all.
import { html } from '../lib/dom.js'
import { useFeed } from '../lib/feed.js'
import { settings } from '../lib/settings.js'
import { go, path } from '../lib/router.js'

// useDatacenters is the names of all, the agent's own first.
export function useDatacenters() {
  const { data } = useFeed('catalog/datacenters', {}, { every: 10_000, blocks: false })
  return data ?? [settings.datacenter]
}

// chosen is which of them an address names.
export function chosen(route, all) {
  if (route.dc) return [route.dc]
  const named = (route.search.get('dc') ?? '').split(',').filter(Boolean)
  return named.length ? named : all
}

// Choice changes the address; page is services or nodes. Other parameters stay.
export function Choice({ page, route, all, picked }) {
  if (all.length < 2) return null
  const set = list => {
    const search = new URLSearchParams(route.search)
    search.delete('dc')
    if (list.length > 1 && list.length < all.length) search.set('dc', list.join(','))
    const text = search.toString()
    go((list.length === 1 ? path(list[0], page) : path(page)) + (text ? '?' + text : ''), { replace: true })
  }
  const every = picked.length === all.length
  const turn = dc => set(every ? [dc] : picked.includes(dc) ? (picked.length > 1 ? picked.filter(d => d !== dc) : all) : [...picked, dc])
  return html`<div class="choice" role="group" aria-label="Datacenters">
    <button type="button" aria-pressed=${String(every)} onClick=${() => set(all)}>All datacenters</button>
    ${all.map(dc => html`<button type="button" key=${dc} aria-pressed=${String(!every && picked.includes(dc))} onClick=${() => turn(dc)}>${dc}</button>`)}
  </div>`
}
