// cpu is the time that this process has computed, in milliseconds: others use the machine as well.
export function cpu() {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1000
}
