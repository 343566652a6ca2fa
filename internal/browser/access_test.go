package browser

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/legate-project/legate/internal/testcluster"
)

// editors are the tests of what is edited with access control on.
type editors struct {
	browser context.Context
	here    *testcluster.Node
	secret  string // of a token that may do everything
	axe     string
}

// editsAccess has tokens, policies and roles made, changed and deleted by hand.
func editsAccess(t *testing.T, browser context.Context, here *testcluster.Node, secret string) {
	e := &editors{browser: browser, here: here, secret: secret, axe: axe(t)}
	for _, test := range []struct {
		name string
		run  func(*testing.T)
	}{
		{"PoliciesAreEdited", e.policies}, {"NobodyOverwritesAnother", e.conflicts}, {"TokensAreEdited", e.tokens}, {"RolesAreEdited", e.roles},
		{"DeletingSaysWhoLoses", e.deletes}, {"WhoMayOnlyReadSeesNoButtons", e.readers}, {"RightsAreAskedForAgain", e.patient}, {"MethodsAndBindingsAreText", e.text},
		{"TenThousandTokensScroll", e.many},
	} {
		t.Run(test.name, test.run)
	}
}

// as opens a page with a token.
func (e *editors) as(t *testing.T, secret, page string) *tab {
	t.Helper()
	tb := open(t, e.browser, "status of 400", "status of 403", "status of 404")
	tb.goTo(address(e.here, "events"))
	eval[bool](tb, fmt.Sprintf("sessionStorage.setItem('legate.token', %q), true", secret))
	tb.goTo(address(e.here, page))
	return tb
}

// ask returns what the API answers to the token that may do everything.
func (e *editors) ask(t *testing.T, method, path string, body, into any) {
	t.Helper()
	var b []byte
	if body != nil {
		var err error
		if b, err = json.Marshal(body); err != nil {
			t.Fatal(err)
		}
	}
	answer, err := exchange(t.Context(), e.here, e.secret, method, path, b)
	if err == nil && into != nil {
		err = json.Unmarshal(answer, into)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// pick waits for a button or a link with this text that can be used, in the open dialog if there is
// one, and clicks it.
func (tb *tab) pick(text string) {
	tb.t.Helper()
	find := fmt.Sprintf(`[...(document.querySelector('dialog[open]') ?? document.querySelector('main') ?? document).querySelectorAll('button, a')].find(b => b.innerText.trim() === %q && !b.disabled)`, text)
	tb.see("there is "+text+" to click", find)
	eval[bool](tb, find+".click(), true")
}

// fill writes into the field with a label, or chooses there.
func (tb *tab) fill(label, text string) {
	tb.t.Helper()
	find := fmt.Sprintf(`(l => l && (l.htmlFor ? document.getElementById(l.htmlFor) : l.querySelector('input, select, textarea')))([...document.querySelectorAll('main label')].find(l => l.innerText.trim().startsWith(%q)))`, label)
	tb.see("there is a field "+label+" that takes "+text, fmt.Sprintf(`(f => f && (f.tagName !== 'SELECT' || [...f.options].some(o => o.value === %q)))(%s)`, text, find))
	eval[bool](tb, fmt.Sprintf(`(f => { f.value = %q; for (const e of ['input', 'change']) f.dispatchEvent(new Event(e, { bubbles: true })); return true })(%s)`, text, find))
}

// row opens the dialog of one record of a list.
func (tb *tab) row(name string) {
	tb.t.Helper()
	find := fmt.Sprintf(`[...document.querySelectorAll('.row .main button')].find(b => b.innerText === %q)`, name)
	tb.see(name+" is in the list", find)
	eval[bool](tb, find+".click(), true")
	tb.see("its dialog opens", `document.querySelector('main dialog[open]')`)
}

// hides fails if the page shows a secret anywhere, or has it in its address.
func (tb *tab) hides(secrets ...string) {
	tb.t.Helper()
	all := eval[string](tb, `document.documentElement.outerHTML + document.title + location.href + JSON.stringify(history.state) + JSON.stringify(localStorage)`)
	for _, s := range secrets {
		if s == "" || strings.Contains(all, s) {
			tb.t.Errorf("the secret %.8s… is in the page", s)
		}
	}
}

type policy struct{ ID, Name, Description, Rules string }

func (e *editors) policies(t *testing.T) {
	tb := e.as(t, e.secret, "dc1/acls/policies")
	tb.pick("New policy")
	tb.fill("Name", "made-here")
	eval[bool](tb, `(s => { s.value = 'A service'; s.dispatchEvent(new Event('change', { bubbles: true })); return true })(document.querySelector('.rules-head select'))`)
	tb.see("what a rule grants stands beside it", `(n => n && n.innerText.includes('read and register the service web') &&
		Math.abs(n.getBoundingClientRect().top - document.querySelector('.rules-editor textarea').getBoundingClientRect().top - 8 - 22) < 4)(document.querySelector('.notes li'))`)
	tb.fill("Rules", "node_prefix \"\" {\n  policy = \"read\"\n}\nservice \"<img src=x onerror=alert(8)>\" { policy = \"list\" }\n")
	tb.see("a mistake is shown where it is", `(f => f && f.innerText.includes('is for keys only') && f.offsetTop > 50)(document.querySelector('.notes li.fault'))`)
	tb.see("it cannot be saved", `[...document.querySelectorAll('main button')].find(b => b.innerText === 'Review')?.disabled`)
	tb.isForAll(e.axe, "the editor of a policy")
	tb.fill("Rules", "service \"<img src=x onerror=alert(8)>\" { policy = \"read\" }\n")
	tb.see("it is explained as text", `document.querySelector('.notes li')?.innerText.includes('read the service <img src=x onerror=alert(8)>')`)
	if !eval[bool](tb, unmarked) {
		t.Error("text has become markup")
	}
	tb.pick("Review")
	tb.see("it shows what is made", `document.querySelector('.diff .added')?.innerText.includes('+ Name: made-here')`)
	tb.pick("Make the policy")
	tb.shows("The policy made-here is made.")
	var made policy
	e.ask(t, http.MethodGet, "acl/policy/name/made-here", nil, &made)
	if !strings.Contains(made.Rules, "onerror=alert(8)") {
		t.Errorf("made with %q", made.Rules)
	}
	tb.goTo(address(e.here, "dc1/acls/policies/create"))
	tb.fill("Name", "made-here")
	tb.pick("Review")
	tb.pick("Make the policy")
	tb.shows("already exists")
	tb.goTo(address(e.here, "dc1/acls/policies/00000000-0000-0000-0000-000000000001"))
	tb.shows("It is built in")
	tb.see("its rules cannot be changed", `document.querySelector('.rules-editor textarea')?.readOnly`)
	tb.goTo(address(e.here, "dc1/acls/policies/12345678-0000-4000-8000-000000000000"))
	tb.shows("There is no such policy")
}

func (e *editors) conflicts(t *testing.T) {
	var p policy
	e.ask(t, http.MethodPut, "acl/policy", policy{Name: "shared", Description: "first", Rules: `acl = "read"`}, &p)
	theirs := func(text string) {
		t.Helper()
		e.ask(t, http.MethodPut, "acl/policy/"+p.ID, policy{ID: p.ID, Name: p.Name, Description: text, Rules: p.Rules}, nil)
	}
	tb := e.as(t, e.secret, "dc1/acls/policies")
	tb.row("shared")
	tb.pick("Change the policy")
	tb.fill("Description", "mine")
	theirs("theirs")
	tb.shows("It was changed while you wrote") // without loading
	tb.pick("Compare mine with it")
	tb.see("theirs would go", `document.querySelector('.diff .taken')?.innerText.trim() === '- Description: theirs'`)
	// What is there is no longer heard of, and is looked at once more before it is saved.
	eval[bool](tb, `(f => { window.fetch = (u, o) => o?.method === 'GET' && u.includes('acl/policy/') && !u.includes('consistent') ? new Promise(() => {}) : f(u, o) })(window.fetch), true`)
	theirs("theirs again")
	tb.pick("Save")
	tb.shows("Nothing was saved: somebody else changed it in the meantime")
	var now policy
	if e.ask(t, http.MethodGet, "acl/policy/"+p.ID, nil, &now); now.Description != "theirs again" {
		t.Errorf("%q was overwritten", now.Description)
	}
	tb.pick("Compare mine with it")
	tb.pick("Save")
	tb.shows("The policy shared is saved.")
	if e.ask(t, http.MethodGet, "acl/policy/"+p.ID, nil, &now); now.Description != "mine" || now.Rules != p.Rules {
		t.Errorf("saved %+v", now)
	}
	tb.goTo(address(e.here, "dc1/acls/policies/"+p.ID))
	tb.fill("Description", "mine again")
	tb.pick("Review")
	e.ask(t, http.MethodDelete, "acl/policy/"+p.ID, nil, nil)
	tb.pick("Save")
	tb.shows("Nothing was saved: somebody deleted it in the meantime")
}

type tokenEntry struct {
	AccessorID, SecretID, Description string
	Local                             bool
	ExpirationTime                    string
	Policies, Roles                   []struct{ Name string }
	ServiceIdentities                 []struct{ ServiceName string }
	NodeIdentities                    []struct{ NodeName, Datacenter string }
	TemplatedPolicies                 []struct{ TemplateName string }
}

// described returns the token with a description.
func (e *editors) described(t *testing.T, text string) tokenEntry {
	t.Helper()
	var all []tokenEntry
	e.ask(t, http.MethodGet, "acl/tokens", nil, &all)
	for _, one := range all {
		if one.Description == text {
			return one
		}
	}
	t.Fatalf("there is no token %q", text)
	return tokenEntry{}
}

func (e *editors) tokens(t *testing.T) {
	e.ask(t, http.MethodPut, "acl/policy", policy{Name: "for-tokens"}, nil)
	tb := e.as(t, e.secret, "dc1/acls/tokens")
	tb.pick("New token")
	tb.fill("Description", "ci "+probe)
	tb.fill("Where it counts", "here")
	tb.fill("It ends", "1h")
	for _, grant := range [][3]string{{"policy", "Name", "for-tokens"}, {"service", "Name", "web"}, {"node", "Name", "n1"}, {"template", "Template", "builtin/dns"}} {
		tb.fill("Add", grant[0])
		tb.fill(grant[1], grant[2])
		tb.pick("Add")
	}
	tb.see("all four are granted", `document.querySelectorAll('.granted li').length === 4`)
	tb.isForAll(e.axe, "the editor of a token")
	tb.pick("Review")
	tb.pick("Make the token")
	tb.shows("is made.")
	made := e.described(t, "ci "+probe)
	if !made.Local || made.ExpirationTime == "" || len(made.Policies) != 1 || len(made.ServiceIdentities) != 1 || len(made.NodeIdentities) != 1 || made.NodeIdentities[0].Datacenter != "dc1" || len(made.TemplatedPolicies) != 1 {
		t.Errorf("made %+v", made)
	}
	tb.hides(made.SecretID, e.secret)
	tb.isForAll(e.axe, "a new token")
	tb.pick("Show the SecretID")
	tb.see("it is shown to who asks", fmt.Sprintf(`document.querySelector('.secret code')?.innerText === %q`, made.SecretID))
	tb.pick("Hide the SecretID")
	tb.see("it is hidden again", `!document.querySelector('.secret code')`)
	tb.hides(made.SecretID)
	if !eval[bool](tb, unmarked) {
		t.Error("text has become markup")
	}
	tb.pick("All tokens")
	tb.row("ci " + probe)
	tb.pick("Clone …")
	tb.fill("Description of the clone", "a clone")
	eval[bool](tb, `(async make => { make.click(); await new Promise(later => setTimeout(later)); make.click(); return true })(document.querySelector('dialog[open] [type=submit]'))`)
	tb.see("it is made", `document.querySelector('dialog[open]').innerText.includes('is made, with the Accessor ID')`)
	tb.hides(e.described(t, "a clone").SecretID, made.SecretID)
	var all []tokenEntry
	e.ask(t, http.MethodGet, "acl/tokens", nil, &all)
	if n := len(slices.DeleteFunc(all, func(one tokenEntry) bool { return one.Description != "a clone" })); n != 1 {
		t.Errorf("two clicks made %d clones", n)
	}
	tb.goTo(address(e.here, "dc1/acls/tokens/"+made.AccessorID))
	tb.see("what it grants is there", `document.querySelectorAll('.granted li').length === 4`)
	eval[bool](tb, `document.querySelector('.granted button[aria-label*=for-tokens]').click(), true`)
	tb.fill("Description", "ci, changed")
	tb.pick("Review")
	tb.see("what changes is shown", `[...document.querySelectorAll('.diff .taken')].some(l => l.innerText.trim() === '- Policy: for-tokens')`)
	tb.pick("Save")
	tb.shows("The token ci, changed is saved.")
	if now := e.described(t, "ci, changed"); now.SecretID != made.SecretID || len(now.Policies) != 0 || len(now.ServiceIdentities) != 1 || now.ExpirationTime != made.ExpirationTime {
		t.Errorf("changed to %+v", now)
	}
	tb.hides(made.SecretID)
}

func (e *editors) roles(t *testing.T) {
	e.ask(t, http.MethodPut, "acl/policy", policy{Name: "for-roles"}, nil)
	tb := e.as(t, e.secret, "dc1/acls/roles")
	tb.pick("New role")
	tb.fill("Name", "operators")
	tb.fill("Description", probe)
	eval[bool](tb, `(f => { f.value = 'none-such'; f.dispatchEvent(new Event('input', { bubbles: true })); return true })(document.querySelector('.grants input'))`)
	tb.pick("Add")
	tb.isForAll(e.axe, "the editor of a role")
	tb.pick("Review")
	tb.pick("Make the role")
	tb.shows(`No such ACL policy with name "none-such"`) // the server is the judge
	tb.pick("Take away")
	eval[bool](tb, `(f => { f.value = 'for-roles'; f.dispatchEvent(new Event('input', { bubbles: true })); return true })(document.querySelector('.grants input'))`)
	tb.pick("Add")
	tb.pick("Review")
	tb.pick("Make the role")
	tb.shows("The role operators is made.")
	tb.pick("All roles")
	tb.row("operators")
	tb.pick("Change the role")
	tb.fill("Description", "changed")
	tb.pick("Review")
	tb.pick("Save")
	tb.shows("The role operators is saved.")
	var now struct {
		Description string
		Policies    []struct{ Name string }
	}
	if e.ask(t, http.MethodGet, "acl/role/name/operators", nil, &now); now.Description != "changed" || len(now.Policies) != 1 {
		t.Errorf("saved %+v", now)
	}
}

func (e *editors) deletes(t *testing.T) {
	var p policy
	e.ask(t, http.MethodPut, "acl/policy", policy{Name: "doomed"}, &p)
	link := []any{map[string]string{"Name": "doomed"}}
	e.ask(t, http.MethodPut, "acl/role", map[string]any{"Name": "doomed-role", "Policies": link}, nil)
	e.ask(t, http.MethodPut, "acl/token", map[string]any{"Description": "has it", "Policies": link}, nil)
	e.ask(t, http.MethodPut, "acl/token", map[string]any{"Description": "has it by a role", "Roles": []any{map[string]string{"Name": "doomed-role"}}}, nil)
	tb := e.as(t, e.secret, "dc1/acls/policies")
	tb.row("doomed")
	tb.pick("Delete …")
	tb.see("it says who loses", `(text => text.includes('2 tokens: ') && text.includes('has it by a role') && text.includes('1 role: doomed-role'))(document.querySelector('dialog[open] .notice')?.innerText ?? '')`)
	tb.isForAll(e.axe, "deleting a policy")
	tb.pick("Delete it now")
	tb.see("it is gone", `!document.querySelector('dialog[open]') && ![...document.querySelectorAll('.row .main button')].some(b => b.innerText === 'doomed')`)
	tb.goTo(address(e.here, "dc1/acls/policies"))
	tb.row("global-management")
	tb.see("what is built in stays", `[...document.querySelectorAll('dialog[open] button')].find(b => b.innerText === 'Delete …')?.disabled && document.querySelector('dialog[open]').innerText.includes('It is built in')`)
	var own tokenEntry
	e.ask(t, http.MethodPut, "acl/token", map[string]any{"Description": "my own", "Policies": []any{map[string]string{"Name": "global-management"}}}, &own)
	mine := e.as(t, own.SecretID, "dc1/acls/tokens")
	mine.row("my own")
	mine.pick("Delete …")
	mine.see("it warns", `(text => text.includes('You are using this token') && text.includes('It may do everything'))(document.querySelector('dialog[open] .notice')?.innerText ?? '')`)
	mine.hides(own.SecretID)
	mine.pick("Delete it now")
	mine.shows("nobody may see this without one")
}

func (e *editors) readers(t *testing.T) {
	e.ask(t, http.MethodPut, "acl/policy", policy{Name: "only-reads", Rules: `acl = "read"`}, nil)
	var reader tokenEntry
	e.ask(t, http.MethodPut, "acl/token", map[string]any{"Description": "a reader", "Policies": []any{map[string]string{"Name": "only-reads"}}}, &reader)
	tb := e.as(t, reader.SecretID, "dc1/acls/policies")
	tb.shows("This token may not change policies")
	tb.row("only-reads")
	tb.see("the rules are shown", `document.querySelector('dialog[open] pre')?.innerText.includes('acl = "read"')`)
	if buttons := eval[[]string](tb, `[...document.querySelectorAll('main button, main a.button')].map(b => b.innerText).filter(t => /^(New|Change|Clone|Delete)/.test(t))`); len(buttons) > 0 {
		t.Errorf("it is offered %v", buttons)
	}
	tb.goTo(address(e.here, "dc1/acls/tokens/create"))
	tb.shows("This token may not change access control")
	tb.hides(reader.SecretID)
	tb.goTo(address(e.here, "servers"))
	tb.shows("this token does not have it")
	tb.see("it can take no snapshot", `[...document.querySelectorAll('main button')].find(b => b.innerText === 'Save a snapshot')?.disabled`)
}

// patient has the page ask for its rights again where nobody answered.
func (e *editors) patient(t *testing.T) {
	tb := e.as(t, e.secret, "events")
	tb.before(`(f => { let asked = 0; window.fetch = (u, o) => u.includes('acl/authorize') && asked++ === 0 ? Promise.reject(new TypeError('gone')) : f(u, o) })(window.fetch)`)
	tb.goTo(address(e.here, "dc1/acls/policies/create"))
	tb.see("the editor comes when they are known", `document.querySelector('.rules-editor textarea')`)
}

// text has what others wrote about auth methods and binding rules shown as text.
func (e *editors) text(t *testing.T) {
	key := "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE0aBltQQXqvdUPMvXVIZx8HQ5ENcj\n5aPClTOstcf4QRDCRHN+h11KF5xcIuQEELb7eLq/IzLNvWVjwnXYQD1txg==\n-----END PUBLIC KEY-----" // signs nothing
	e.ask(t, http.MethodPut, "acl/auth-method", map[string]any{"Name": "sso", "Type": "jwt", "DisplayName": "shown " + probe, "Description": probe, "TokenNameFormat": "${auth_method_type}" + probe,
		"Config": map[string]any{"JWTValidationPubKeys": []string{key}, "ClaimMappings": map[string]string{"x": "x"}}}, nil)
	e.ask(t, http.MethodPut, "acl/binding-rule", map[string]any{"AuthMethod": "sso", "Description": probe, "BindType": "role", "BindName": "r-x",
		"Selector": `value.x == "<img src=x onerror=alert(10)>"`}, nil)
	tb := e.as(t, e.secret, "dc1/acls/auth-methods")
	for _, page := range [][3]string{{"auth-methods", "shown ", "onerror=alert(1)"}, {"binding-rules", "by sso", "onerror=alert(10)"}} {
		tb.goTo(address(e.here, "dc1/acls/"+page[0]))
		tb.shows(page[2])
		eval[bool](tb, fmt.Sprintf(`[...document.querySelectorAll('.row .main button')].find(b => b.innerText.startsWith(%q)).click(), true`, page[1]))
		tb.see("its dialog shows it", fmt.Sprintf(`document.querySelector('dialog[open] .facts')?.innerText.includes(%q)`, page[2]))
		if !eval[bool](tb, unmarked) {
			t.Errorf("%s: text has become markup", page[0])
		}
	}
}
