# The configuration of the servers.
datacenter       = "dc1"
server           = true
bootstrap_expect = 3

# The pods are found by the name of their headless service.
retry_join = ["legate-servers"]

# The HTTP interface and DNS are reached from other pods. Who may do what is up to
# access control: docs/acl.md.
client_addr = "0.0.0.0"

# A pod that is ended comes back under its name: it does not leave.
leave_on_terminate = false
