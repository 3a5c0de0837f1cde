// SPDX-License-Identifier: Apache-2.0
#include "services/crypto/xts_kernel.h"

#include <algorithm>

#include "core/check.h"

namespace remora::services::crypto {

std::string_view to_string(XtsKernel kernel) noexcept {
    switch (kernel) {
        case XtsKernel::Vaes512:
            return "vaes512";
        case XtsKernel::Vaes256:
            return "vaes256";
        case XtsKernel::AesNi:
            return "aesni";
        case XtsKernel::Evp:
            return "evp";
    }
    return "unknown";
}

bool has_kernel(XtsKernel kernel) {
    switch (kernel) {
        case XtsKernel::Vaes512:
            return has_aesni() && has_vaes512();
        case XtsKernel::Vaes256:
            return has_aesni() && has_vaes256();
        case XtsKernel::AesNi:
            return has_aesni();
        case XtsKernel::Evp:
            return true;
    }
    return false;
}

XtsKernel best_kernel() {
    return *std::ranges::find_if(kXtsKernels, has_kernel);
}

XtsFunctions functions_of(XtsKernel kernel, unsigned rounds) {
    CHECK(has_kernel(kernel));
    switch (kernel) {
        case XtsKernel::Vaes512:
            return vaes512_functions(rounds);
        case XtsKernel::Vaes256:
            return vaes256_functions(rounds);
        case XtsKernel::AesNi:
            return aesni_functions(rounds);
        case XtsKernel::Evp:
            break;
    }
    return {};
}

}  // namespace remora::services::crypto
