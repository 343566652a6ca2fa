package config

import (
	"reflect"
	"strings"
	"testing"
)

// The name of the federation is a plain string, as it was before there was a block, or in
// it; a gateway is switched on by true, by a block, or by the flag.
func TestAPlainValueStandsForABlock(t *testing.T) {
	for text, want := range map[string]Federation{
		``:                             {Name: "legate", Reach: "direct"},
		`federation = "west"`:          {Name: "west", Reach: "direct"},
		`federation { name = "west" }`: {Name: "west", Reach: "direct"},
		`federation { reach = "gateways", gateways = ["gw.example", "[2001:db8::1]:443"] }`: {Name: "legate", Reach: "gateways", Gateways: []string{"gw.example", "[2001:db8::1]:443"}},
		`federation { transit = true, links = ["dc2"] }`:                                    {Name: "legate", Reach: "direct", Transit: true, Links: []string{"dc2"}},
	} {
		if got := mustLoad(t, `data_dir = "/d"`+"\n"+text).Federation; !reflect.DeepEqual(got, want) {
			t.Errorf("%s is %+v", text, got)
		}
	}
	for text, want := range map[string]Gateway{
		``:                            {Rate: 1000},
		`gateway = true`:              {Enabled: true, Rate: 1000},
		`gateway {}`:                  {Enabled: true, Rate: 1000},
		`gateway { rate = 50 }`:       {Enabled: true, Rate: 50},
		`gateway { enabled = false }`: {Rate: 1000},
	} {
		if got := mustLoad(t, `data_dir = "/d"`+"\n"+text).Gateway; got != want {
			t.Errorf("%s is %+v", text, got)
		}
	}
	if !mustLoad(t, `data_dir = "/d"`, "-gateway").Gateway.Enabled {
		t.Error("the flag does nothing")
	}
	if got := mustLoad(t, `data_dir = "/d"`, "-gateway", "-advertise-wan=gw.example").AdvertiseAddrWAN; got != "gw.example" {
		t.Errorf("others look up %q", got)
	}
}

func TestWhatCannotBeReached(t *testing.T) {
	for text, want := range map[string]string{
		`federation = 5`:                                                                              `federation.name: want a string`,
		`federation { reach = "magic" }`:                                                              `federation.reach: "magic" is neither direct nor gateways`,
		`federation { gateways = ["a"] }`:                                                             `federation.gateways: takes federation.reach = "gateways"`,
		`federation { reach = "gateways", gateways = [":1"] }`:                                        `federation.gateways: ":1" is neither host nor host:port`,
		`federation { reach = "gateways", transit = true }`:                                           `federation: transit and links take federation.reach = "direct"`,
		`federation { reach = "gateways", links = ["a"] }`:                                            `federation: transit and links take federation.reach = "direct"`,
		`federation { links = ["nearest"] }`:                                                          `federation.links: "nearest" is a word of queries`,
		`federation { links = ["A b"] }`:                                                              `federation.links: "A b" cannot name a datacenter`,
		`federation { reach = "gateways", gateways = ["1","2","3","4","5","6","7","8","9"] }`:         `names 9 gateways, 8 at most`,
		`federation { reach = "gateways", gateways = ["a,b"] }`:                                       `federation.gateways: "a,b" is neither host nor host:port`,
		`federation { reach = "gateways", gateways = ["a:0"] }`:                                       `federation.gateways: "a:0" is neither`,
		`federation { reach = "gateways", gateways = ["a:99999"] }`:                                   `federation.gateways: "a:99999" is neither`,
		`federation { reach = "gateways", gateways = ["https://a"] }`:                                 `federation.gateways: "https://a" is neither`,
		`gateway { rate = 99999999999999 }`:                                                           `gateway.rate: is 99999999999999, 1000000 at most`,
		`gateway = "yes"`:                                                                             `gateway.enabled: want`,
		`server = true` + "\n" + `gateway = true`:                                                     `gateway: is for client agents`,
		`gateway = true` + "\n" + `ports { serf_wan = -1 }`:                                           `gateway: others reach a gateway at ports.serf_wan`,
		`encrypt_wan = "MTIzNDU2Nzg5MDEyMzQ1Ng=="`:                                                    `encrypt_wan: is for servers`,
		`encrypt_wan = "c2hvcnQ="`:                                                                    `5 bytes: it must have 16, 24 or 32`,
		`server = true encrypt = "MTIzNDU2Nzg5MDEyMzQ1Ng==" encrypt_wan = "MTIzNDU2Nzg5MDEyMzQ1Ng=="`: `encrypt_wan: is the same key as encrypt`,
		`server = true disable_keyring_file = true encrypt_wan = "MTIzNDU2Nzg5MDEyMzQ1Ng=="`:          `encrypt_wan: takes encrypt`,
		`gateway { rate = 0 }`:                                                                        `gateway.rate: is 0`,
		`ports { gateway_tcp = 70000 }`:                                                               `ports.gateway_tcp: 70000 is no port`,
		`gateway = true` + "\n" + `ports { gateway_tcp = 65536 }`:                                     `ports.gateway_tcp: 65536 is no port`,
		`advertise_addr_wan = "gw.example"`:                                                           `advertise_addr_wan`,
	} {
		if _, _, err := load(t, `data_dir = "/d"`+"\n"+text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, not %q", text, err, want)
		}
	}
}
