// Health says what Argo CD and kstatus make of objects: a list of them as JSON on its input, their answers as JSON on its output.
//
// usage: health SCRIPT <objects.json
//
// SCRIPT is Argo CD's health script for the kind. It runs in the Lua that Argo CD runs it in, with the same few libraries.
package main

import (
	"encoding/json"
	"fmt"
	"os"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	lua "github.com/yuin/gopher-lua"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// verdict is one tool's answer about one object.
type verdict struct {
	Status  string `json:"status"`
	Message string `json:"message"`
}

// answer is what both tools say about one object.
type answer struct {
	Argo    verdict `json:"argo"`
	Kstatus verdict `json:"kstatus"`
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "health:", err)
		os.Exit(1)
	}
}

func run() error {
	if len(os.Args) != 2 {
		return fmt.Errorf("usage: health SCRIPT <objects.json")
	}
	script, err := os.ReadFile(os.Args[1])
	if err != nil {
		return err
	}
	var objects []map[string]any
	if err := json.NewDecoder(os.Stdin).Decode(&objects); err != nil {
		return err
	}
	answers := make([]answer, 0, len(objects))
	for place, object := range objects {
		argo, err := argoSays(string(script), object)
		if err != nil {
			return fmt.Errorf("object %d: Argo CD's script: %w", place, err)
		}
		kstatus, err := status.Compute(&unstructured.Unstructured{Object: whole(object).(map[string]any)})
		if err != nil {
			return fmt.Errorf("object %d: kstatus: %w", place, err)
		}
		answers = append(answers, answer{argo, verdict{kstatus.Status.String(), kstatus.Message}})
	}
	return json.NewEncoder(os.Stdout).Encode(answers)
}

// argoSays runs the script as Argo CD does: `obj` is the object, and what it returns has a status and a message.
func argoSays(script string, object map[string]any) (verdict, error) {
	state := lua.NewState(lua.Options{SkipOpenLibs: true})
	defer state.Close()
	for name, open := range map[string]lua.LGFunction{
		lua.LoadLibName:   lua.OpenPackage,
		lua.BaseLibName:   lua.OpenBase,
		lua.TabLibName:    lua.OpenTable,
		lua.StringLibName: lua.OpenString,
		lua.MathLibName:   lua.OpenMath,
	} {
		if err := state.CallByParam(lua.P{Fn: state.NewFunction(open), Protect: true}, lua.LString(name)); err != nil {
			return verdict{}, err
		}
	}
	state.SetGlobal("obj", value(state, object))
	if err := state.DoString(script); err != nil {
		return verdict{}, err
	}
	table, ok := state.Get(-1).(*lua.LTable)
	if !ok {
		return verdict{}, fmt.Errorf("it returned no table")
	}
	return verdict{lua.LVAsString(table.RawGetString("status")), lua.LVAsString(table.RawGetString("message"))}, nil
}

// value is JSON as Lua has it.
func value(state *lua.LState, from any) lua.LValue {
	switch from := from.(type) {
	case bool:
		return lua.LBool(from)
	case float64:
		return lua.LNumber(from)
	case string:
		return lua.LString(from)
	case []any:
		table := state.CreateTable(len(from), 0)
		for _, item := range from {
			table.Append(value(state, item))
		}
		return table
	case map[string]any:
		table := state.CreateTable(0, len(from))
		for key, item := range from {
			table.RawSetString(key, value(state, item))
		}
		return table
	default:
		return lua.LNil
	}
}

// whole makes of JSON's numbers what Kubernetes' libraries have for whole ones.
func whole(from any) any {
	switch from := from.(type) {
	case float64:
		if number := int64(from); float64(number) == from {
			return number
		}
		return from
	case []any:
		for place := range from {
			from[place] = whole(from[place])
		}
		return from
	case map[string]any:
		for key := range from {
			from[key] = whole(from[key])
		}
		return from
	default:
		return from
	}
}
