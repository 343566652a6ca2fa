// What every part of the page is written with: Preact, and htm in place of a compiler.
// Text always becomes a text node; nothing here or elsewhere sets innerHTML.
import { h, render, Fragment } from '../thirdparty/preact.js'
import htm from '../thirdparty/htm.js'

export const html = htm.bind(h)
export { render, Fragment }
export { useState, useEffect, useLayoutEffect, useMemo, useRef, useCallback, useId } from '../thirdparty/hooks.js'
