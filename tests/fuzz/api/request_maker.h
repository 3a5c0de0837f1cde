// SPDX-License-Identifier: Apache-2.0
// RequestMaker: a request from a fuzzer's bytes. It begins as the method's good one, as nothing or
// as the bytes themselves, and then some of its fields are set, mostly to what means something in
// the world that the good ones are for.
#pragma once

#include <map>
#include <string>

#include "tests/fuzz/api/plane_calls.h"
#include "tests/fuzz/support/input.h"

namespace remora::fuzz {

class RequestMaker {
  public:
    RequestMaker();

    MessagePtr make(const PlaneCall& call, Input& input) const;

  private:
    std::map<std::string, MessagePtr> good_;
};

}  // namespace remora::fuzz
