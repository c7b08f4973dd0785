// Pays 1 when the completion has the asked number of words, inside a tag where one is asked for; else 0.
// Words are separated by ASCII whitespace. With `tag` alone, one word inside it suffices.
#include <charconv>

#include "tag.h"
#include "volery/reward.h"

namespace volery::rewards {
namespace {

int64_t CountWords(std::string_view text) {
  int64_t words = 0;
  bool inside = false;
  for (char c : text) {
    words += !IsSpace(c) && !inside;
    inside = !IsSpace(c);
  }
  return words;
}

class Format : public Reward {
 public:
  static constexpr char kDescription[] =
      "1 when the completion has the asked number of words (inside a tag), else 0";
  static constexpr Option kOptions[] = {
      {"words", OptionType::kInteger, "0", "number of words, the same for all tasks; 0: not asked"},
      {"words_column", OptionType::kText, "", "dataset column that names each task's number of words"},
      {"tag", OptionType::kText, "",
       "count only the text inside <tag>...</tag>, which must be there exactly once"},
  };

  explicit Format(const Options& options)
      : words_(options.Integer("words")),
        words_column_(options.Text("words_column")),
        tag_(options.Text("tag")) {
    if (words_ < 0) throw std::invalid_argument("option \"words\" is negative");
    if (words_ > 0 && !words_column_.empty())
      throw std::invalid_argument("give \"words\" or \"words_column\", not both");
    if (words_ == 0 && words_column_.empty() && tag_.empty()) {
      throw std::invalid_argument("nothing to check: give \"words\", \"words_column\" or \"tag\"");
    }
  }

  double Score(const Sample& sample) const override {
    const int64_t wanted = Wanted(sample);
    std::string_view text = sample.completion;
    if (!tag_.empty()) {
      const std::optional<std::string_view> inside = InsideTag(text, tag_);
      if (!inside) return 0;
      text = *inside;
    }
    const int64_t words = CountWords(text);
    return wanted == kAnyNumber ? words > 0 : words == wanted;
  }

 private:
  static constexpr int64_t kAnyNumber = -1;

  int64_t Wanted(const Sample& sample) const {
    if (words_ > 0) return words_;
    if (words_column_.empty()) return kAnyNumber;
    const std::string_view text = Trim(sample.Get(words_column_).text);
    int64_t wanted = 0;
    auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), wanted);
    if (error != std::errc() || end != text.data() + text.size() || wanted < 0) {
      throw std::invalid_argument("column \"" + words_column_ + "\" is no whole number: \"" +
                                  std::string(text) + "\"");
    }
    return wanted;
  }

  int64_t words_;
  std::string words_column_, tag_;
};

}  // namespace
}  // namespace volery::rewards

VOLERY_REWARD_PLUGIN("volery.format/1", volery::rewards::Format)
