// What the agent wrote into the page: see web.Settings.
export const settings = JSON.parse(document.querySelector('meta[name=legate]').content)
