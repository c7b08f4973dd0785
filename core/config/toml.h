#pragma once
// TOML++ as every file here must include it. Its parser checks its own state with assertions that bad input can break
// ("[[[" does, in 3.3: tomlplusplus pull request 301) although the code behind them reports a parse error. A recipe's
// typing error must not abort the program, so they are off; the fuzz entry tests/fuzz/recipe_fuzz.cc watches over it.

#define TOML_ASSERT(expr) static_cast<void>(0)
#include <toml++/toml.h>
