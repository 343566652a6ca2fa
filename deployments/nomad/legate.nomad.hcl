# Three servers of a datacenter, each on a machine of its own:
#
#   nomad var put nomad/jobs/legate encrypt="$(legate keygen)" join=10.0.0.2
#   nomad job run deployments/nomad/legate.nomad.hcl
#
# join is the address of one of the machines that the servers come to; the image is
# that of make image, in a registry that the machines know.
job "legate" {
  type = "service"

  update {
    max_parallel     = 1
    health_check     = "checks"
    min_healthy_time = "10s"
    healthy_deadline = "5m"
    auto_revert      = true
  }

  group "servers" {
    count = 3

    # Where a server was it finds its state again.
    ephemeral_disk {
      sticky = true
      size   = 10240
    }

    constraint {
      operator = "distinct_hosts"
      value    = "true"
    }

    network {
      mode = "host"

      port "http" { static = 8500 }
      port "server" { static = 8300 }
      port "lan" { static = 8301 }
      port "wan" { static = 8302 }
      port "dns" { static = 8600 }
    }

    service {
      name     = "legate"
      port     = "http"
      provider = "nomad"

      check {
        type     = "http"
        path     = "/v1/agent/ready"
        interval = "10s"
        timeout  = "5s"
      }
    }

    task "server" {
      driver = "docker"

      # Servers come back: they do not leave.
      kill_signal  = "SIGTERM"
      kill_timeout = "60s"
      user         = "root"

      config {
        image        = "legate:latest"
        network_mode = "host"
        entrypoint   = ["/legate", "agent"]
        args         = ["-config-file=/secrets/server.hcl", "-data-dir=/alloc/data"]
      }

      template {
        destination = "secrets/server.hcl"
        perms       = "0600"
        data        = <<HCL
datacenter         = "dc1"
server             = true
bootstrap_expect   = 3
client_addr        = "0.0.0.0"
leave_on_terminate = false
{{ with nomadVar "nomad/jobs/legate" }}
encrypt    = "{{ .encrypt }}"
retry_join = ["{{ .join }}"]
{{ end }}
HCL
      }

      resources {
        cpu    = 500
        memory = 512
      }
    }
  }
}
