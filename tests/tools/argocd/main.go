// Argocd runs a Lua script the way Argo CD runs those of argocd-cm (util/lua/lua.go of version 3): with the
// libraries package, base and table, with time and date of os for those who require it, within a second.
//
//	{"script": LUA, "object": OBJECT} on the standard input; the JSON of what the script returns on the output
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"time"

	lua "github.com/yuin/gopher-lua"
	luajson "layeh.com/gopher-json"
)

// Argo CD gives up a script that runs longer.
const timeout = time.Second

func main() {
	log.SetFlags(0)
	var input struct {
		Script string         `json:"script"`
		Object map[string]any `json:"object"`
	}
	if err := json.NewDecoder(os.Stdin).Decode(&input); err != nil {
		log.Fatal(err)
	}
	result, err := run(input.Script, input.Object)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(result)
}

func run(script string, object map[string]any) (string, error) {
	state := lua.NewState(lua.Options{SkipOpenLibs: true})
	defer state.Close()
	for _, open := range []lua.LGFunction{lua.OpenPackage, lua.OpenBase, lua.OpenTable} {
		if err := state.CallByParam(lua.P{Fn: state.NewFunction(open), Protect: true}, lua.LString("")); err != nil {
			return "", err
		}
	}
	state.PreloadModule(lua.OsLibName, openClock)
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	state.SetContext(ctx)
	state.SetGlobal("obj", luajson.DecodeValue(state, object))
	if err := state.DoString(script); err != nil {
		return "", err
	}
	returned, ok := state.Get(-1).(*lua.LTable)
	if !ok {
		return "", fmt.Errorf("the script returns a %s, not a table", state.Get(-1).Type())
	}
	encoded, err := luajson.Encode(returned)
	if err != nil {
		return "", err
	}
	var result any
	if err := json.Unmarshal(encoded, &result); err != nil {
		return "", err
	}
	encoded, err = json.Marshal(restoreEmptyMaps(result, object))
	return string(encoded), err
}

// What is harmless of Lua's os, taken from a state that no script runs in.
func openClock(state *lua.LState) int {
	complete := lua.NewState()
	defer complete.Close()
	clock := state.NewTable()
	for _, name := range []string{"time", "date"} {
		function := complete.GetField(complete.GetGlobal(lua.OsLibName), name).(*lua.LFunction)
		clock.RawSetString(name, state.NewFunction(function.GFunction))
	}
	state.Push(clock)
	return 1
}

// In Lua an empty map is an empty list; Argo CD makes it a map again where the object had one.
func restoreEmptyMaps(value, original any) any {
	switch value := value.(type) {
	case map[string]any:
		original, _ := original.(map[string]any)
		for name := range value {
			value[name] = restoreEmptyMaps(value[name], original[name])
		}
	case []any:
		if _, wasMap := original.(map[string]any); wasMap && len(value) == 0 {
			return original
		}
		original, _ := original.([]any)
		for index := range min(len(value), len(original)) {
			value[index] = restoreEmptyMaps(value[index], original[index])
		}
	}
	return value
}
