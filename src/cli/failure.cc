// SPDX-License-Identifier: Apache-2.0
#include "cli/failure.h"

namespace remora::cli {

void refuse_argument(const std::string& sentence) {
    throw Refused(grpc::StatusCode::INVALID_ARGUMENT, sentence);
}

}  // namespace remora::cli
