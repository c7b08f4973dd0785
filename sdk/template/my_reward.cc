// my_reward: the share of the answer's words that the completion contains.
#include <volery/reward.h>

#include <sstream>

class MyReward : public volery::Reward {
 public:
  static constexpr char kDescription[] = "share of the answer's words that the completion contains";
  static constexpr volery::Option kOptions[] = {
      {"bonus", volery::OptionType::kNumber, "0", "added when every word is there"},
  };
  explicit MyReward(const volery::Options& options) : bonus_(options.Number("bonus")) {}

  double Score(const volery::Sample& s) const override {
    std::istringstream words{std::string(s.answer)};
    double found = 0, total = 0;
    for (std::string word; words >> word; ++total) found += s.completion.find(word) != std::string_view::npos;
    if (total == 0) throw std::invalid_argument("the sample has no answer");
    return found / total + (found == total ? bonus_ : 0);
  }

 private:
  double bonus_;
};

VOLERY_REWARD_PLUGIN("example.my_reward/1", MyReward)
