// The page of Legate. What it is made of: lib has what draws nothing, parts what several pages
// show, pages one file for each; thirdparty is Preact and htm. The browser runs these files as
// they stand.
import { html, render, useEffect, useRef } from './lib/dom.js'
import { useRoute, start, path } from './lib/router.js'
import { Shell, startTheme } from './parts/shell.js'
import { Empty } from './parts/notice.js'
import { FederationPage } from './pages/federation.js'
import { ServicesPage } from './pages/services.js'
import { ServicePage } from './pages/service.js'
import { InstancePage } from './pages/instance.js'
import { NodesPage } from './pages/nodes.js'
import { NodePage } from './pages/node.js'
import { ServersPage } from './pages/servers.js'
import { SessionsPage } from './pages/sessions.js'
import { AccessPage } from './pages/access.js'
import { KeysPage } from './pages/keys.js'
import { DNSPage } from './pages/dns.js'
import { EventsPage } from './pages/events.js'
import { QueriesPage } from './pages/queries.js'
import { AgentPage } from './pages/agent.js'

const pages = {
  federation: ['Federation', FederationPage],
  services: ['Services', ServicesPage], service: ['Service', ServicePage], instance: ['Instance', InstancePage],
  nodes: ['Nodes', NodesPage], node: ['Node', NodePage],
  servers: ['Servers', ServersPage], sessions: ['Sessions', SessionsPage], access: ['Access', AccessPage], events: ['Events', EventsPage], queries: ['Prepared queries', QueriesPage],
  kv: ['Keys', KeysPage], dns: ['DNS', DNSPage], agent: ['Agent', AgentPage],
}

const Unknown = () => html`<h1>Not found</h1><${Empty} title="There is no such page"><p>Go to the <a href=${path()}>federation</a>.</p></${Empty}>`

function App() {
  const route = useRoute(), first = useRef(true)
  const [title, Page] = pages[route.page] ?? ['Not found', Unknown]
  useEffect(() => {
    document.title = [route.id ?? route.name ?? route.search.get('key'), title, 'Legate'].filter(Boolean).join(' · ')
    if (!first.current) document.getElementById('main').focus({ preventScroll: true }) // a reader of the screen begins with the new page
    first.current = false
  }, [route.address])
  return html`<${Shell} page=${route.page}><${Page} key=${['services', 'nodes', 'sessions'].includes(route.page) ? route.page : route.address} route=${route} /></${Shell}>`
}

startTheme()
start()
render(html`<${App} />`, document.getElementById('app'))
