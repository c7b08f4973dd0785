#pragma once
// The page of all recipe keys with type, default and help, made from the schema, and the list for shell
// completion.

#include <string>
#include <vector>

namespace volery::config {

std::string ReferencePage();                  // Markdown
std::vector<std::string> OverridablePaths();  // "trainer.optim.learning_rate", for lists "reward.0.weight"

}  // namespace volery::config
