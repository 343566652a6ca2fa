package rules

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// many returns ten policies with n rules together, as those of a large installation.
func many(n int) []*Policy {
	random := rand.New(rand.NewPCG(1, 2))
	all := make([]*Policy, 10)
	for i := range all {
		p := &Policy{}
		for range n / len(all) {
			r := Rule{Resource: everyResource[random.IntN(len(everyResource))], Access: []Access{Read, Write, Deny}[random.IntN(3)]}
			if random.IntN(3) > 0 {
				r.Resource = []Resource{Key, Service, Node}[random.IntN(3)]
			}
			if named(r.Resource) {
				r.Prefix = random.IntN(2) == 0
				r.Name = fmt.Sprintf("teams/%d/apps/%d/%d", random.IntN(20), random.IntN(20), random.IntN(n))[:6+random.IntN(11)]
			}
			p.Rules = append(p.Rules, r)
		}
		all[i] = Merge(p)
	}
	return all
}

func BenchmarkAllow(b *testing.B) {
	for _, n := range []int{20, 200, 10_000} {
		a := Compile(Settings{}, Merge(many(n)...)).For("anonymous token")
		for _, access := range []Access{Read, WriteAll} {
			b.Run(fmt.Sprintf("rules=%d/%s", n, access), func(b *testing.B) {
				b.ReportAllocs()
				names := make([]string, 64)
				for i := range names {
					names[i] = fmt.Sprintf("teams/%d/apps/%d/config", i%20, i%7)
				}
				i := 0
				for b.Loop() {
					a.Allow(Key, access, names[i%len(names)])
					i++
				}
			})
		}
	}
}

func BenchmarkCompile(b *testing.B) {
	for _, n := range []int{200, 10_000} {
		all := many(n)
		b.Run(fmt.Sprintf("rules=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				Compile(Settings{}, Merge(all...))
			}
		})
		b.Run(fmt.Sprintf("rules=%d/known", n), func(b *testing.B) {
			b.ReportAllocs()
			c, p := NewTrees(8), Merge(all...)
			for b.Loop() {
				c.Compile(Settings{}, p)
			}
		})
	}
}

func BenchmarkParse(b *testing.B) {
	for _, n := range []int{20, 2000} {
		text := Merge(many(n)...).Text()
		b.Run(fmt.Sprintf("rules=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				if _, err := Parse(text); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
