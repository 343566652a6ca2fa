// How the instances of a service are, in words.
import { plural } from './fmt.js'

export function standing({ critical = 0, warning = 0, passing = 0 }, dc) {
  const all = critical + warning + passing
  const few = n => n < all ? `${n.toLocaleString('en')} of ${plural(all, 'instance')}`
    : all === 1 ? 'The only instance' : all === 2 ? 'Both instances' : `All ${plural(all, 'instance')}`
  const are = n => n === 1 ? 'is' : 'are'
  if (critical) return { state: 'critical', text: `${few(critical)} in ${dc} ${are(critical)} critical` }
  if (warning) return { state: 'warning', text: `${few(warning)} in ${dc} ${warning === 1 ? 'has' : 'have'} a warning` }
  return { state: 'passing', text: `${few(passing)} in ${dc} ${are(passing)} passing` }
}
