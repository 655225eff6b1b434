#include "io/json.h"

#include <gtest/gtest.h>

#include "pycnn/error.h"

namespace pycnn::io::json {
namespace {

TEST(Json, ReadsEveryKind) {
  const Value value = parse(R"( {"a": [1, -2, 0.5, 1e3], "b": {"c": null}, "d": true, "e": false, "f": ""} )");
  const Object& object = *value.as<Object>();
  const Array& array = *object.at("a").as<Array>();
  EXPECT_EQ(*array[0].as<int64_t>(), 1);
  EXPECT_EQ(*array[1].as<int64_t>(), -2);
  EXPECT_EQ(*array[2].as<double>(), 0.5);
  EXPECT_EQ(*array[3].as<double>(), 1000.0);
  EXPECT_NE(object.at("b").as<Object>()->at("c").as<std::nullptr_t>(), nullptr);
  EXPECT_TRUE(*object.at("d").as<bool>());
  EXPECT_FALSE(*object.at("e").as<bool>());
  EXPECT_EQ(*object.at("f").as<std::string>(), "");
}

TEST(Json, KeepsWholeInt64) {
  EXPECT_EQ(*parse("9223372036854775807").as<int64_t>(), INT64_MAX);
  EXPECT_EQ(*parse("-9223372036854775808").as<int64_t>(), INT64_MIN);
  EXPECT_EQ(*parse("9223372036854775808").as<double>(), 9223372036854775808.0);
}

TEST(Json, DecodesEscapes) {
  EXPECT_EQ(*parse(R"("\"\\\/\b\f\n\r\t")").as<std::string>(), "\"\\/\b\f\n\r\t");
  EXPECT_EQ(*parse(R"("\u0041\u00e9\u20AC\ud83d\ude00")").as<std::string>(), "A\u00e9\u20ac\U0001F600");
  EXPECT_EQ(parse(R"("\u0000")").as<std::string>()->size(), 1U);
}

TEST(Json, QuotesWhatItReads) {
  const std::string text("quote \" backslash \\ newline \n zero \0 \u00e9 \U0001F600", 44);
  EXPECT_EQ(*parse(quote(text)).as<std::string>(), text);
  EXPECT_THROW(quote("\xff"), ValueError);
}

class JsonRefuses : public testing::TestWithParam<std::string> {};

TEST_P(JsonRefuses, WithAnError) { EXPECT_THROW(parse(GetParam()), ValueError); }

INSTANTIATE_TEST_SUITE_P(
    Table, JsonRefuses,
    testing::Values("", " ", "{", "}", "[", "[1", "[1,", "[1,]", "{\"a\"}", "{\"a\":}", "{\"a\":1,}", "{a:1}",
                    "{\"a\":1 \"b\":2}", "{\"a\":1,\"a\":2}", "{\"a\":1,\"\\u0061\":2}", "\"", "\"a", "\"\n\"",
                    "\"\\x\"", "\"\\u12\"", "\"\\u12g4\"", "\"\\ud800\"", "\"\\ud800x\"", "\"\\ud800\\u0041\"",
                    "\"\\udc00\"", "\"\\", "01", "-", "+1", ".5", "1.", "1e", "1e+", "1e999", "0x1", "nan", "NaN",
                    "Infinity", "tru", "nulll", "1 2", "'a'", "[1] x", "\"\xff\"", "\"\xc0\x80\"", "\"\xe0\x80\x80\"",
                    "\"\xed\xa0\x80\"", "\"\xf4\x90\x80\x80\"", "\"\xc3\"", std::string("\0", 1), std::string("1\0", 2),
                    "\xef\xbb\xbf{}", "/**/1", std::string(33, '[') + std::string(33, ']'), std::string(1000000, '[')));

TEST(Json, NestsToTheLimit) {
  const auto nested = [](int depth) {
    const auto count = static_cast<size_t>(depth);
    return std::string(count, '[') + std::string(count, ']');
  };
  EXPECT_NO_THROW(parse(nested(max_depth)));
  EXPECT_THROW(parse(nested(max_depth + 1)), ValueError);
}

}  // namespace
}  // namespace pycnn::io::json
