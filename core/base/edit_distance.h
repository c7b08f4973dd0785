#pragma once
// "Did you mean": the nearest of a few words. Pure functions, thread-safe.

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace volery::base {

// Insertions, deletions, substitutions and swaps of neighbours that turn `a` into `b`, counted in bytes
// (optimal string alignment). Time and memory: product and sum of the lengths.
size_t EditDistance(std::string_view a, std::string_view b);

// The candidate nearest to `word` (the first of equals), or "" where none is nearer than max(1, a third of
// its length) edits.
std::string NearestWord(std::string_view word, const std::vector<std::string>& candidates);

// ` did you mean "x"?` with a leading semicolon, or "" where nothing is near: for the end of an error
// message.
std::string DidYouMean(std::string_view word, const std::vector<std::string>& candidates);

}  // namespace volery::base
