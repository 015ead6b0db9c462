// Renders each template with Go's own text/template, set up as Flagger sets it up, and prints the results as JSON.
// The output is checked in beside this file as ../go_templates.json:
//
//	go run main.go > ../go_templates.json
package main

import (
	"encoding/json"
	"os"
	"strings"
	"text/template"
)

// Case is one template and what Go makes of it: a text, or the stage in which it fails.
type Case struct {
	Template string  `json:"template"`
	Output   *string `json:"output"`
	Fails    string  `json:"fails,omitempty"`
}

var templates = []string{
	// Plain text and the eight functions.
	`up`,
	`up{name="{{ name }}", namespace="{{ namespace }}"}`,
	`{{ target }} {{ service }} {{ ingress }} {{ route }}`,
	`rate(requests[{{ interval }}])`,
	`{{ variables.cluster }}`,
	`{{variables.cluster}}`,
	`{{ index variables "cluster" }}`,
	`{{ index variables "a-b" }}`,
	`[{{ index variables "absent" }}]`,
	`{{ len variables }}`,
	`{{ len name }}`,
	`{{ variables.quote }}`,
	// What must fail.
	`{{ variables.absent }}`,
	`{{ absent }}`,
	`{{ .Anything }}`,
	`{{ name`,
	`{{ name "argument" }}`,
	`{{ if }}x{{ end }}`,
	`{{ end }}`,
	`{{ template "absent" }}`,
	`{{ $undeclared }}`,
	`{{ index name "x" }}`,
	`{{ index variables 1 }}`,
	`{{ call name }}`,
	`{{ upper name }}`,
	`{{ 1 | printf "%d" }}{{ printf }}`,
	// Trim markers and comments.
	"a\n{{- /* gone */ -}}\nb",
	`{{- name -}}`,
	"sum(\n  rate(x[{{ interval }}])\n)",
	`{{/* a comment */}}up`,
	// Pipelines and printf.
	`{{ printf "%s-canary" target }}`,
	`{{ target | printf "%s-%s" namespace }}`,
	`{{ printf "%q" name }}`,
	`{{ printf "%05d" 42 }}`,
	`{{ printf "%.2f" 1.5 }}`,
	`{{ printf "%v %v" true 1.0 }}`,
	`{{ printf "%d" "text" }}`,
	`{{ print name namespace }}`,
	`{{ print 1 2 name }}`,
	`{{ println name }}`,
	`{{ printf "%6.2f|%-6s|%x" 3.14159 "ab" 255 }}`,
	`{{ "raw" }} {{ ` + "`back\\quoted`" + ` }}`,
	`{{ '"' }}`,
	// Conditions and comparisons.
	`{{ if eq namespace "test" }}yes{{ else }}no{{ end }}`,
	`{{ if eq namespace "a" "b" "test" }}yes{{ end }}`,
	`{{ if ne name target }}differ{{ else }}same{{ end }}`,
	`{{ if and (eq name "podinfo") (not false) }}both{{ end }}`,
	`{{ if or "" variables.cluster }}some{{ end }}`,
	`{{ or "" "fallback" }}`,
	`{{ and "a" "b" }}`,
	`{{ if lt 1 2 }}less{{ end }}{{ if ge 2.5 2.5 }}atleast{{ end }}`,
	`{{ if index variables "absent" }}set{{ else }}unset{{ end }}`,
	`{{ if eq name "x" }}1{{ else if eq name "podinfo" }}2{{ else }}3{{ end }}`,
	`{{ with variables.cluster }}{{ . }}{{ end }}`,
	`{{ with index variables "absent" }}{{ . }}{{ else }}none{{ end }}`,
	// Loops, variables, definitions.
	`{{ range $key, $value := variables }}{{ $key }}={{ $value }};{{ end }}`,
	`{{ range variables }}{{ . }} {{ end }}`,
	`{{ $ns := namespace }}{{ $ns }}/{{ $ns }}`,
	`{{ $x := "a" }}{{ if true }}{{ $x = "b" }}{{ end }}{{ $x }}`,
	`{{ define "sel" }}pod=~"{{ target }}-.*"{{ end }}x{ {{ template "sel" }} }`,
	`{{ block "b" name }}<{{ . }}>{{ end }}`,
	`{{ range $i, $v := variables }}{{ if eq $i "cluster" }}{{ break }}{{ end }}{{ $i }}{{ end }}`,
	// Escapes and slices.
	`{{ slice name 0 3 }}`,
	`{{ html "<a&b>" }} {{ urlquery "a b&c" }} {{ js "it's" }}`,
	`{{ "é" | printf "%q" }} {{ len "é" }}`,
	`{{ eq 1 1.0 }}`,
	`{{ not name }}`,
	`{{ 0x10 }} {{ 1_000 }} {{ 1e3 }}`,
}

func main() {
	functions := template.FuncMap{
		"name":      func() string { return "podinfo" },
		"namespace": func() string { return "test" },
		"target":    func() string { return "podinfo" },
		"service":   func() string { return "podinfo-svc" },
		"ingress":   func() string { return "podinfo-ing" },
		"route":     func() string { return "podinfo" },
		"interval":  func() string { return "1m" },
		"variables": func() map[string]string {
			return map[string]string{"cluster": "eu-1", "a-b": "dashed", "quote": `say "hi"`}
		},
	}
	cases := make([]Case, 0, len(templates))
	for _, text := range templates {
		one := Case{Template: text}
		parsed, err := template.New("tmpl").Option("missingkey=error").Funcs(functions).Parse(text)
		if err != nil {
			one.Fails = "parse"
		} else {
			var out strings.Builder
			if err := parsed.Execute(&out, nil); err != nil {
				one.Fails = "execute"
			} else {
				s := out.String()
				one.Output = &s
			}
		}
		cases = append(cases, one)
	}
	encoder := json.NewEncoder(os.Stdout)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(cases); err != nil {
		panic(err)
	}
}
