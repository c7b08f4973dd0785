// Pays 1 when the last number of the completion equals the answer's, else 0. Where a text holds "####" (the
// mark of GSM8K's answers), only what follows the last one is read. A number: optional sign, optional $,
// digits with commas between groups of three, optional fraction, optional exponent. "10-5" holds 10 and 5;
// "3/4" holds 3 and 4.
#include <charconv>
#include <cmath>
#include <vector>

#include "tag.h"
#include "volery/reward.h"

namespace volery::rewards {
namespace {

struct Number {
  double value = 0;
  std::string
      canonical;  // sign, digits without leading and trailing zeros; empty when written with an exponent
};

bool IsDigit(char c) {
  return c >= '0' && c <= '9';
}
bool IsWordChar(char c) {
  return IsDigit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

class Scanner {
 public:
  explicit Scanner(std::string_view text) : text_(text) {}

  std::optional<Number> Last() {
    std::optional<Number> last;
    while (at_ < text_.size()) {
      if (IsDigit(At(0)) || (At(0) == '.' && IsDigit(At(1)) && !(at_ > 0 && IsDigit(text_[at_ - 1]))))
        last = Read();
      else
        ++at_;
    }
    return last;
  }

 private:
  char At(size_t ahead) const { return at_ + ahead < text_.size() ? text_[at_ + ahead] : '\0'; }

  // "-5", "-$5", "$-5"; a minus after a letter or digit is a hyphen or a subtraction.
  bool Negative() const {
    size_t before = at_;
    while (before > 0 && (text_[before - 1] == '$' || text_[before - 1] == '-')) {
      if (text_[--before] == '-') return before == 0 || !IsWordChar(text_[before - 1]);
    }
    return false;
  }

  void Digits(std::string& out) {
    while (IsDigit(At(0))) out += text_[at_++];
  }

  std::string Whole() {
    std::string digits;
    Digits(digits);
    while (At(0) == ',' && digits.size() <= 3 * (1 + groups_) && IsDigit(At(1)) && IsDigit(At(2)) &&
           IsDigit(At(3)) && !IsDigit(At(4))) {
      ++at_;
      ++groups_;
      Digits(digits);
    }
    return digits;
  }

  Number Read() {
    const bool negative = Negative();
    groups_ = 0;
    std::string whole = Whole(), fraction, exponent;
    if (At(0) == '.' && IsDigit(At(1))) {
      ++at_;
      Digits(fraction);
    }
    const size_t sign = At(1) == '+' || At(1) == '-' ? 1 : 0;
    if ((At(0) == 'e' || At(0) == 'E') && IsDigit(At(1 + sign))) {
      exponent = At(1) == '-' ? "e-" : "e";
      at_ += 1 + sign;
      Digits(exponent);
    }
    return Make(negative, whole, fraction, exponent);
  }

  static Number Make(bool negative, std::string whole, std::string fraction, const std::string& exponent) {
    Number out;
    const std::string text = (negative ? "-" : "") + (whole.empty() ? "0" : whole) + "." +
                             (fraction.empty() ? "0" : fraction) + exponent;
    if (std::from_chars(text.data(), text.data() + text.size(), out.value).ec != std::errc())
      out.value = HUGE_VAL;
    if (!exponent.empty()) return out;
    whole.erase(
        0, whole.find_first_not_of('0') == std::string::npos ? whole.size() : whole.find_first_not_of('0'));
    fraction.erase(fraction.find_last_not_of('0') + 1);
    out.canonical = (negative && !(whole.empty() && fraction.empty()) ? "-" : "") + whole + "." + fraction;
    return out;
  }

  std::string_view text_;
  size_t at_ = 0;
  size_t groups_ = 0;
};

std::optional<Number> LastNumber(std::string_view text) {
  const size_t mark = text.rfind("####");
  return Scanner(mark == std::string_view::npos ? text : text.substr(mark + 4)).Last();
}

class NumericAnswer : public Reward {
 public:
  static constexpr char kDescription[] =
      "1 when the last number of the completion equals the answer's, else 0";
  static constexpr Option kOptions[] = {
      {"tolerance", OptionType::kNumber, "0",
       "largest absolute difference that still pays; 0: equal, digit by digit"},
      {"column", OptionType::kText, "", "dataset column with the right number; empty: the answer column"},
      {"tag", OptionType::kText, "",
       "read only the text inside <tag>...</tag>, which must be there exactly once"},
  };

  explicit NumericAnswer(const Options& options)
      : tolerance_(options.Number("tolerance")), column_(options.Text("column")), tag_(options.Text("tag")) {
    if (!(tolerance_ >= 0)) throw std::invalid_argument("option \"tolerance\" is negative");
  }

  double Score(const Sample& sample) const override {
    const std::string_view answer = column_.empty() ? sample.answer : sample.Get(column_).text;
    const std::optional<Number> expected = LastNumber(answer);
    if (!expected)
      throw std::invalid_argument("the answer holds no number: \"" + std::string(answer.substr(0, 80)) +
                                  "\"");
    std::string_view text = sample.completion;
    if (!tag_.empty()) {
      const std::optional<std::string_view> inside = InsideTag(text, tag_);
      if (!inside) return 0;
      text = *inside;
    }
    const std::optional<Number> given = LastNumber(text);
    return given && Equal(*given, *expected);
  }

 private:
  bool Equal(const Number& a, const Number& b) const {
    if (tolerance_ == 0 && !a.canonical.empty() && !b.canonical.empty()) return a.canonical == b.canonical;
    return std::abs(a.value - b.value) <= tolerance_;
  }

  double tolerance_;
  std::string column_, tag_;
};

}  // namespace
}  // namespace volery::rewards

VOLERY_REWARD_PLUGIN("volery.numeric_answer/1", volery::rewards::NumericAnswer)
