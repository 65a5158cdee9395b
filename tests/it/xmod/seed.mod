// Deprecated: use example.com/n instead.
// It is better.
module example.com/m // so it is

go 1.21.3

toolchain go1.22.0

godebug default=go1.21

require example.com/a v1.2.3 // indirect
require (
	// A comment.
	example.com/b/v2 v2.0.0 // indirect; with more

	"example.com/c" v1
	gopkg.in/yaml.v3 v3.0.1
	example.com/d v2.0.0+incompatible // why
	example.com/e v0.0.0-20200102030405-abcdefabcdef
) // end

exclude example.com/a v1.2.4

replace example.com/a => ../a
replace example.com/a v1.2.3 => example.com/z v1.9.0
replace (
	example.com/b/v2 => ./b // here
	"example.com/c" v1.0.0 => "example.com/y/v3" v3.0.0
)

// Published by accident.
retract v1.0.0
retract [v1.1.0, v1.2.0] // Broken.
// A reason for all.
retract (
	v1.3.0
	[ v1.4.0 , v1.5.0 ] // A reason of its own.
)

tool example.com/a/cmd/x

ignore (
	./node_modules
	static
)
