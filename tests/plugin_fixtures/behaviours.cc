// One reward that behaves as its option says; the source of several fixtures.
#include <signal.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <thread>

#include "volery/reward.h"

namespace {

class Behaviours : public volery::Reward {
 public:
  static constexpr char kDescription[] = "does what the completion says";
  static constexpr volery::Option kOptions[] = {
      {"greeting", volery::OptionType::kText, "hello", "reported when asked"},
      {"scale", volery::OptionType::kNumber, "1", "multiplies every score"},
      {"refuse", volery::OptionType::kBool, "false", "refuse to be made"},
      {"count", volery::OptionType::kInteger, "2", "a whole number"},
  };

  Behaviours(const volery::Options& options, volery::Host host)
      : greeting_(options.Text("greeting")), scale_(options.Number("scale")), host_(host) {
    if (options.Flag("refuse")) throw std::invalid_argument("told to refuse");
  }

  double Score(const volery::Sample& s) const override {
    if (s.completion == "throw") throw std::runtime_error("thrown on purpose");
    if (s.completion == "throw an int") throw 7;
    if (s.completion == "not applicable") throw volery::NotApplicable("not for me");
    if (s.completion == "nan") return std::strtod("nan", nullptr);
    if (s.completion == "abort") {
      signal(SIGABRT, SIG_DFL);
      abort();
    }
    if (s.completion == "exit") _exit(3);
    if (s.completion == "hang") {
      while (true) std::this_thread::sleep_for(std::chrono::seconds(1));
    }
    if (s.completion == "wait for cancel") {
      while (!s.Cancelled()) std::this_thread::sleep_for(std::chrono::milliseconds(2));
      throw volery::Timeout("gave up when told");
    }
    if (s.completion == "greeting") return s.answer == greeting_;
    if (s.completion == "word") return host_.RandomWord(3, 5);
    if (s.completion == "print") return std::printf("a plugin prints this\n") > 0;
    return scale_ * Judge(s);
  }

 private:
  double Judge(const volery::Sample& s) const {
    if (s.completion == "pid") return getpid();
    if (s.completion == "column") return std::strtod(std::string(s.Get("points").text).c_str(), nullptr);
    if (s.completion == "tokens") {
      double sum = 0;
      for (uint64_t i = 0; i < s.raw().span_count; ++i) {
        for (uint64_t k = 0; k < s.raw().spans[i]->token_count; ++k) sum += s.raw().spans[i]->tokens[k];
      }
      return sum;
    }
    s.Report("length", static_cast<double>(s.completion.size()));
    host_.Metric("seen", 1);
    std::this_thread::sleep_for(std::chrono::milliseconds(s.completion.size() % 7));
    return std::strtod(std::string(s.completion).c_str(), nullptr);
  }

  std::string greeting_;
  double scale_;
  volery::Host host_;
};

#ifdef FIXTURE_MAY_HANG
class Fixture : public Behaviours {
 public:
  static constexpr bool kMayHang = true;
  using Behaviours::Behaviours;
};
#endif

}  // namespace

#ifdef FIXTURE_MAY_HANG
VOLERY_REWARD_PLUGIN("fixture.may_hang/1", Fixture)
#else
VOLERY_REWARD_PLUGIN("fixture.behaviours/1", Behaviours)
#endif
