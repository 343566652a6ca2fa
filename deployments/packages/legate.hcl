# The configuration of this agent: all files of this folder together. legate validate
# /etc/legate.d says what is wrong with it; docs/config.md has every key.
data_dir   = "/var/lib/legate"
datacenter = "dc1"

# The key that secures everything between agents, the same for all of them: legate keygen.
# encrypt = ""

# Who is joined: servers of the datacenter.
# retry_join = ["10.0.0.2", "10.0.0.3"]

# For a server, also how many there are at first, and servers of other datacenters.
# server           = true
# bootstrap_expect = 3
# retry_join_wan   = ["192.0.2.10"]
