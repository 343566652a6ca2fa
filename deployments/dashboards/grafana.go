package dashboards

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
)

// schema is the version of Grafana's format that is written; newer ones read it.
const schema = 39

type object = map[string]any

// JSON is the dashboard as Grafana takes it.
func (d Dashboard) JSON() ([]byte, error) {
	var panels []object
	for _, p := range d.Layout() {
		if p.Row != "" {
			panels = append(panels, object{"id": p.ID, "type": "row", "title": p.Row, "gridPos": p.Place, "collapsed": false, "panels": []any{}})
			continue
		}
		panels = append(panels, d.panel(p))
	}
	b, err := json.MarshalIndent(object{
		"uid": d.UID, "title": d.Title, "description": d.About, "tags": []string{"legate"},
		"schemaVersion": schema, "editable": true, "graphTooltip": 1, "timezone": "browser",
		"time": object{"from": "now-1h", "to": "now"}, "refresh": "30s",
		"templating":  object{"list": d.variables()},
		"annotations": object{"list": annotations()},
		"links": []object{
			{"type": "dashboards", "title": "Legate", "tags": []string{"legate"}, "asDropdown": true, "includeVars": true, "keepTime": true},
			{"type": "link", "title": "Runbook", "url": Runbook("what-to-look-at-when-"), "targetBlank": true},
		},
		"panels": panels,
	}, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("render %s: %w", d.UID, err)
	}
	return append(b, '\n'), nil
}

// source is the Prometheus that a variable chooses.
func source() object { return object{"type": "prometheus", "uid": "${source}"} }

// Variable is a choice of the reader's, with the query of its values.
type Variable struct{ Name, Label, Query string }

// Variables are the choices of the reader beside that of Prometheus.
func (d Dashboard) Variables() []Variable {
	return []Variable{
		{"dc", "Datacenter", "label_values(legate_version, dc)"},
		{"node", "Node", `label_values(legate_version{dc=~"$dc"}, node)`},
		{"instance", "Agent", `label_values(legate_version{dc=~"$dc",node=~"$node"}, instance)`},
	}
}

func (d Dashboard) variables() []object {
	list := []object{{"name": "source", "label": "Prometheus", "type": "datasource", "query": "prometheus", "refresh": 1}}
	for _, v := range d.Variables() {
		o := object{"name": v.Name, "label": v.Label, "type": "query", "datasource": source(), "refresh": 2, "sort": 1,
			"query": object{"query": v.Query, "refId": v.Name}, "definition": v.Query}
		if !d.One || v.Name != "instance" {
			// All is any label, also none: a Prometheus that sets no dc shows its agents.
			maps.Copy(o, object{"includeAll": true, "multi": true, "allValue": ".*", "current": object{"text": []string{"All"}, "value": []string{"$__all"}}})
		}
		list = append(list, o)
	}
	return list
}

// Elected is the query of the marks that every graph shows.
const Elected = `increase(legate_raft_leaderships_total{dc=~"$dc"}[1m]) > 0`

func annotations() []object {
	return []object{{"name": "Elections", "datasource": source(), "enable": true, "iconColor": "purple", "expr": Elected, "step": "60s",
		"titleFormat": "{{node}} leads {{dc}}", "textFormat": "elected", "useValueForTime": false}}
}

func (d Dashboard) panel(p Placed) object {
	var targets []object
	for i, query := range p.Panel.Queries {
		t := object{"refId": string(rune('A' + i)), "datasource": source(), "expr": d.Query(query.Expr), "legendFormat": query.Legend}
		switch p.Panel.Kind {
		case Table:
			t["format"], t["instant"] = "table", true
		case Heatmap:
			t["format"] = "heatmap"
		}
		targets = append(targets, t)
	}
	o := object{
		"id": p.ID, "type": p.Panel.Kind, "title": p.Panel.Title, "gridPos": p.Place, "datasource": source(),
		"description": p.Panel.Look + "\n\n[Runbook](" + Runbook(p.Panel.Section) + ")",
		"links":       []object{{"title": "Runbook", "url": Runbook(p.Panel.Section), "targetBlank": true}},
		"targets":     targets,
		"fieldConfig": object{"defaults": defaults(p.Panel), "overrides": []any{}},
		"options":     options(p.Panel),
	}
	if p.Panel.Kind == Table {
		o["transformations"] = columns(p.Panel)
	}
	return o
}

func defaults(p Panel) object {
	o := object{"unit": p.Unit}
	if p.Unit == Share {
		o["min"] = 0
	}
	var steps []object
	for i, t := range p.Thresholds {
		step := object{"color": t.Color, "value": t.From}
		if i == 0 {
			step["value"] = nil // from the lowest value on
		}
		steps = append(steps, step)
	}
	if steps == nil {
		steps = []object{{"color": Green, "value": nil}}
	}
	o["thresholds"] = object{"mode": "absolute", "steps": steps}
	if len(p.Words) > 0 {
		words := object{}
		for i, value := range slices.Sorted(maps.Keys(p.Words)) {
			w := p.Words[value]
			words[value] = object{"index": i, "text": w.Text, "color": w.Color}
		}
		o["mappings"] = []object{{"type": "value", "options": words}}
	}
	switch {
	case p.Kind == Lines:
		custom := object{"lineWidth": 1, "fillOpacity": 5, "showPoints": "never", "spanNulls": false}
		if len(p.Thresholds) > 0 {
			custom["thresholdsStyle"] = object{"mode": "dashed"}
		}
		o["custom"] = custom
	case p.Kind == Timeline:
		o["custom"] = object{"fillOpacity": 80, "lineWidth": 0}
		o["color"] = object{"mode": "thresholds"}
	}
	return o
}

func options(p Panel) object {
	switch p.Kind {
	case Stat:
		return object{"reduceOptions": object{"calcs": []string{"lastNotNull"}, "fields": "", "values": false},
			"colorMode": "background", "graphMode": "area", "textMode": "auto", "justifyMode": "auto", "orientation": "auto"}
	case Table:
		return object{"showHeader": true, "cellHeight": "sm"}
	case Heatmap:
		return object{"calculate": false, "yAxis": object{"unit": p.Unit}, "color": object{"mode": "scheme", "scheme": "Oranges", "steps": 64},
			"tooltip": object{"show": true}, "legend": object{"show": true}, "cellGap": 1}
	case Timeline:
		return object{"showValue": "auto", "rowHeight": 0.9, "mergeValues": true, "legend": object{"showLegend": true, "displayMode": "list", "placement": "bottom"}}
	}
	return object{"legend": object{"showLegend": true, "displayMode": "list", "placement": "bottom"}, "tooltip": object{"mode": "multi", "sort": "desc"}}
}

// columns joins the queries of a table by their labels, names the columns of
// values and hides what says nothing.
func columns(p Panel) []object {
	names := object{}
	for i, query := range p.Queries {
		column := "Value #" + string(rune('A'+i))
		if len(p.Queries) == 1 {
			column = "Value"
		}
		names[column] = query.Legend
	}
	return []object{
		{"id": "merge", "options": object{}},
		{"id": "organize", "options": object{"excludeByName": object{"Time": true, "__name__": true, "job": true}, "renameByName": names}},
	}
}
