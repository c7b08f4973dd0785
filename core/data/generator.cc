#include "core/data/generator.h"

#include <algorithm>
#include <set>

#include "core/base/random.h"

namespace volery::data {
namespace {

constexpr int32_t kLongest = 4096;

StatusOr<int64_t> IntegerOption(const std::string& key, const nlohmann::json& value, int64_t low,
                                int64_t high) {
  if (!value.is_number_integer()) return InvalidError("generator \"reverse\": ", key, " must be an integer");
  const bool huge = value.is_number_unsigned() && value.get<uint64_t>() > static_cast<uint64_t>(high);
  if (huge || value.get<int64_t>() < low || value.get<int64_t>() > high) {
    return InvalidError("generator \"reverse\": ", key, " must be in ", low, " ... ", high, ", but is ",
                        value.dump());
  }
  return value.get<int64_t>();
}

Status CheckAlphabet(const std::string& alphabet) {
  const std::set<char> letters(alphabet.begin(), alphabet.end());
  const bool plain =
      std::all_of(alphabet.begin(), alphabet.end(), [](char c) { return c > ' ' && c < 127 && c != '>'; });
  if (alphabet.empty() || !plain || letters.size() != alphabet.size()) {
    return InvalidError(
        "generator \"reverse\": alphabet must be printable ASCII letters, none twice, without '>', but is \"",
        alphabet, "\"");
  }
  return OkStatus();
}

}  // namespace

StatusOr<ReverseOptions> ParseReverseOptions(const nlohmann::json& options) {
  ReverseOptions parsed;
  if (!options.is_null() && !options.is_object())
    return InvalidError("generator \"reverse\": options must be a table");
  for (const auto& [key, value] : options.items()) {
    if (key == "alphabet") {
      if (!value.is_string()) return InvalidError("generator \"reverse\": alphabet must be a string");
      parsed.alphabet = value.get<std::string>();
    } else if (key == "min_length") {
      VOLERY_ASSIGN_OR_RETURN(int64_t length, IntegerOption(key, value, 1, kLongest));
      parsed.min_length = static_cast<int32_t>(length);
    } else if (key == "max_length") {
      VOLERY_ASSIGN_OR_RETURN(int64_t length, IntegerOption(key, value, 1, kLongest));
      parsed.max_length = static_cast<int32_t>(length);
    } else if (key == "count") {
      VOLERY_ASSIGN_OR_RETURN(parsed.count, IntegerOption(key, value, 1, 1'000'000'000));
    } else {
      return InvalidError("generator \"reverse\": unknown option \"", key,
                          "\"; it has alphabet, min_length, max_length, count");
    }
  }
  return parsed;
}

StatusOr<std::shared_ptr<const ReverseTasks>> ReverseTasks::Make(ReverseOptions options, uint64_t seed,
                                                                 TextCallbacks text) {
  VOLERY_RETURN_IF_ERROR(CheckAlphabet(options.alphabet));
  if (options.min_length < 1 || options.min_length > options.max_length) {
    return InvalidError("generator \"reverse\": min_length ", options.min_length,
                        " must be at least 1 and at most max_length ", options.max_length);
  }
  if (options.count < 1) return InvalidError("generator \"reverse\": count must be at least 1");
  return std::shared_ptr<const ReverseTasks>(new ReverseTasks(std::move(options), seed, std::move(text)));
}

StatusOr<std::shared_ptr<const Task>> ReverseTasks::Get(int64_t index) const {
  if (index < 0 || index >= options_.count) return InternalError("task ", index, " of ", options_.count);
  base::RandomStream random(seed_, base::RandomUse::kGenerator, static_cast<uint64_t>(index));
  const uint64_t lengths = static_cast<uint64_t>(options_.max_length - options_.min_length + 1);
  const size_t length = static_cast<size_t>(options_.min_length) + random.NextBelow(lengths);
  std::string letters(length, ' ');
  for (char& letter : letters) letter = options_.alphabet[random.NextBelow(options_.alphabet.size())];
  Task task;
  task.index = index;
  task.id = Cat(index);
  task.type = "reverse";
  task.prompt_text = letters + ">";
  task.answer.assign(letters.rbegin(), letters.rend());
  StatusOr<std::vector<int32_t>> ids = text_.encode(task.prompt_text, true);
  if (!ids.ok()) return Annotate(ids.status(), "generator \"reverse\", task ", index);
  task.prompt = *std::move(ids);
  task.columns = {{"prompt", task.prompt_text}, {"answer", task.answer}, {"task_type", task.type}};
  return std::make_shared<const Task>(std::move(task));
}

StatusOr<std::shared_ptr<const TaskSource>> MakeGenerator(const std::string& name,
                                                          const nlohmann::json& options, uint64_t seed,
                                                          TextCallbacks text) {
  if (name != "reverse") return InvalidError("unknown task generator \"", name, "\"; there is \"reverse\"");
  VOLERY_ASSIGN_OR_RETURN(ReverseOptions parsed, ParseReverseOptions(options));
  VOLERY_ASSIGN_OR_RETURN(std::shared_ptr<const TaskSource> tasks,
                          ReverseTasks::Make(std::move(parsed), seed, std::move(text)));
  return tasks;
}

}  // namespace volery::data
