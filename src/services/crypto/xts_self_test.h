// SPDX-License-Identifier: Apache-2.0
// The self-test of AES-XTS, run once at start, before a volume is served: a processor or a build
// that computes another cipher must not write what nobody can read.
#pragma once

#include <functional>
#include <string_view>
#include <vector>

#include "core/result.h"
#include "services/crypto/aes_xts.h"

namespace remora::services::crypto {

struct KernelTrial {
    XtsKernel kernel;
    core::Result<void> outcome;  ///< Internal, which names the kernel and what it failed.
};

/// Each kernel that this processor has, the fastest first, for both key sizes and directions: the
/// vectors of IEEE 1619, then runs of sectors of 512 and 4096 bytes beside OpenSSL; so none passes
/// where OpenSSL fails. Some milliseconds.
std::vector<KernelTrial> try_kernels();

/// What is tested: a cipher for `key`, one run in one direction.
using XtsUnderTest = std::function<void(const XtsKey& key, XtsDirection, const XtsRun&)>;

/// The self-test of one implementation, called `name` in the error.
core::Result<void> self_test_of(std::string_view name, const XtsUnderTest& crypt);

}  // namespace remora::services::crypto
