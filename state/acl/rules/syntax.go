package rules

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/hashicorp/hcl/hcl/ast"
	hclparser "github.com/hashicorp/hcl/hcl/parser"
	hclscanner "github.com/hashicorp/hcl/hcl/scanner"
	hclstrconv "github.com/hashicorp/hcl/hcl/strconv"
	hcltoken "github.com/hashicorp/hcl/hcl/token"
)

// maxNesting bounds how deep blocks may stand in each other: the parsers recurse. A
// rule takes three.
const maxNesting = 16

// maxTexts bounds how many texts of several lines (<<END) there may be. No rule that
// is allowed has one.
const maxTexts = 64

// node is a value of the text, HCL or JSON: a string, an object, a list or something
// else that no rule has.
type node struct {
	kind    kind
	text    string   // of a string
	members []member // of an object, in the order of the text
	list    []node
}

// kind is what a node is.
type kind string

const (
	isString kind = "a string"
	isObject kind = "a block"
	isList   kind = "a list"
	isNumber kind = "a number"
	isBool   kind = "a truth value"
	isNull   kind = "null"
	isText   kind = "a text of several lines"
)

// member is one name with its value, where it stands.
type member struct {
	line int
	key  string
	val  node
}

// blocks returns the objects that a node stands for: itself, or those of its list.
func (n *node) blocks() ([]node, bool) {
	if n.kind == isObject {
		return []node{*n}, true
	}
	for _, e := range n.list {
		if e.kind != isObject {
			return nil, false
		}
	}
	return n.list, n.kind == isList
}

// readHCL parses HCL.
func readHCL(text string) (node, error) {
	if err := boundHCL(text); err != nil {
		return node{}, err
	}
	file, err := hclparser.ParseDontErrorOnDuplicateKeys([]byte(text))
	if err != nil {
		var at *hclparser.PosError
		if errors.As(err, &at) {
			return node{}, faultAt(at.Pos.Line, "%s", cut(at.Err.Error(), 256)) // it may hold all of the text
		}
		return node{}, errors.New(cut(err.Error(), 256))
	}
	list, ok := file.Node.(*ast.ObjectList)
	if !ok {
		return node{}, errors.New("the text is no list of rules")
	}
	return objectHCL(list)
}

// boundHCL refuses what is nested too deep for a parser that recurses, and more texts
// of several lines than rules could have a use for: each of them takes microseconds.
func boundHCL(text string) error {
	s := hclscanner.New([]byte(text))
	s.Error = func(hcltoken.Pos, string) {} // the parser says it
	texts := 0
	for depth := 0; ; {
		switch tok := s.Scan(); tok.Type {
		case hcltoken.HEREDOC:
			if texts++; texts > maxTexts {
				return faultAt(tok.Pos.Line, "more than %d texts of several lines", maxTexts)
			}
		case hcltoken.LBRACE, hcltoken.LBRACK:
			if depth++; depth > maxNesting {
				return faultAt(tok.Pos.Line, "nested deeper than %d", maxNesting)
			}
		case hcltoken.RBRACE, hcltoken.RBRACK:
			depth--
		case hcltoken.EOF, hcltoken.ILLEGAL: // the parser goes no further either
			return nil
		}
	}
}

func objectHCL(list *ast.ObjectList) (node, error) {
	n := node{kind: isObject}
	for _, item := range list.Items {
		val, err := valueHCL(item.Val)
		if err != nil {
			return node{}, err
		}
		for i := len(item.Keys) - 1; i >= 0; i-- { // key "a" { … } is key { a { … } }
			tok := item.Keys[i].Token
			key, err := stringHCL(tok)
			if err != nil {
				return node{}, err
			}
			m := member{line: tok.Pos.Line, key: key, val: val}
			if i == 0 {
				n.members = append(n.members, m)
				break
			}
			val = node{kind: isObject, members: []member{m}}
		}
	}
	return n, nil
}

func valueHCL(v ast.Node) (node, error) {
	switch v := v.(type) {
	case *ast.ObjectType:
		return objectHCL(v.List)
	case *ast.ListType:
		n := node{kind: isList}
		for _, e := range v.List {
			val, err := valueHCL(e)
			if err != nil {
				return node{}, err
			}
			n.list = append(n.list, val)
		}
		return n, nil
	case *ast.LiteralType:
		switch v.Token.Type {
		case hcltoken.STRING:
			text, err := stringHCL(v.Token)
			return node{kind: isString, text: text}, err
		case hcltoken.BOOL:
			return node{kind: isBool}, nil
		case hcltoken.HEREDOC:
			return node{kind: isText}, nil
		}
	}
	return node{kind: isNumber}, nil
}

// stringHCL returns what a word or a quoted string says.
func stringHCL(tok hcltoken.Token) (string, error) {
	if tok.Type != hcltoken.STRING {
		return tok.Text, nil
	}
	text, err := hclstrconv.Unquote(tok.Text)
	if err != nil {
		return "", faultAt(tok.Pos.Line, "%s is no string: %v", shorten(tok.Text), err)
	}
	return text, nil
}

// jsonReader parses JSON, and takes a comma behind the last member too, as HCL's
// parser of JSON does. That one is not used because it leaves out, silently, what
// follows a mistake, and a rule left out could be one that denies.
type jsonReader struct {
	rest string // what is behind the token
	tok  string // a punctuation mark, a string with its quotes, another scalar; empty at the end
	line int    // of the token
}

// readJSON parses a JSON object.
func readJSON(text string) (node, error) {
	r := &jsonReader{rest: text, line: 1}
	r.next()
	n, err := r.value(0)
	if err == nil && r.tok != "" {
		err = r.unexpected("the end of the text")
	}
	return n, err
}

// next goes to the next token.
func (r *jsonReader) next() {
	r.line += strings.Count(r.tok, "\n")
	blank := len(r.rest) - len(strings.TrimLeft(r.rest, " \t\r\n"))
	r.line += strings.Count(r.rest[:blank], "\n")
	r.rest = r.rest[blank:]
	n := 0
	switch {
	case r.rest == "":
	case r.rest[0] == '"':
		for n = 1; n < len(r.rest) && r.rest[n] != '"'; n++ {
			if r.rest[n] == '\\' {
				n++
			}
		}
		n++ // the closing quote
	default:
		n = strings.IndexAny(r.rest, "{}[],:\" \t\r\n")
		if n < 0 {
			n = len(r.rest)
		}
		n = max(n, 1)
	}
	n = min(n, len(r.rest))
	r.tok, r.rest = r.rest[:n], r.rest[n:]
}

// unexpected says what should stand where the reader is.
func (r *jsonReader) unexpected(want string) error {
	got := "the end of the text"
	if r.tok != "" {
		got = shorten(r.tok)
	}
	return faultAt(r.line, "%s instead of %s", got, want)
}

// value reads one value.
func (r *jsonReader) value(depth int) (node, error) {
	if depth > maxNesting {
		return node{}, faultAt(r.line, "nested deeper than %d", maxNesting)
	}
	n := node{}
	switch {
	case r.tok == "{":
		return r.object(depth)
	case r.tok == "[":
		return r.list(depth)
	case strings.HasPrefix(r.tok, `"`):
		text, err := r.string()
		return node{kind: isString, text: text}, err
	case r.tok == "true" || r.tok == "false":
		n.kind = isBool
	case r.tok == "null":
		n.kind = isNull
	case json.Valid([]byte(r.tok)):
		n.kind = isNumber
	default:
		return n, r.unexpected("a value")
	}
	r.next()
	return n, nil
}

// string reads what a quoted token says.
func (r *jsonReader) string() (string, error) {
	var text string
	if err := json.Unmarshal([]byte(r.tok), &text); err != nil {
		return "", faultAt(r.line, "%s is no string: %v", shorten(r.tok), err)
	}
	r.next()
	return text, nil
}

func (r *jsonReader) object(depth int) (node, error) {
	n := node{kind: isObject}
	for r.next(); r.tok != "}"; {
		m := member{line: r.line}
		if !strings.HasPrefix(r.tok, `"`) {
			return n, r.unexpected("a name in quotes or }")
		}
		var err error
		if m.key, err = r.string(); err != nil {
			return n, err
		}
		if r.tok != ":" {
			return n, r.unexpected("a colon")
		}
		r.next()
		if m.val, err = r.value(depth + 1); err != nil {
			return n, err
		}
		n.members = append(n.members, m)
		if err := r.comma("}"); err != nil {
			return n, err
		}
	}
	r.next()
	return n, nil
}

func (r *jsonReader) list(depth int) (node, error) {
	n := node{kind: isList}
	for r.next(); r.tok != "]"; {
		e, err := r.value(depth + 1)
		if err != nil {
			return n, err
		}
		n.list = append(n.list, e)
		if err := r.comma("]"); err != nil {
			return n, err
		}
	}
	r.next()
	return n, nil
}

// comma reads the comma behind a member; before the end there may be none.
func (r *jsonReader) comma(end string) error {
	switch r.tok {
	case ",":
		r.next()
	case end:
	default:
		return r.unexpected("a comma or " + end)
	}
	return nil
}

// shorten quotes a text for an error, not more of it than names it.
func shorten(text string) string { return fmt.Sprintf("%q", cut(text, 64)) }

// cut returns a text, or so many bytes of it.
func cut(text string, most int) string {
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "…"
	}
	return text
}
