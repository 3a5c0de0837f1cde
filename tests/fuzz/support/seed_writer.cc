// SPDX-License-Identifier: Apache-2.0
#include "tests/fuzz/support/seed_writer.h"

#include <fstream>

#include "core/check.h"

namespace remora::fuzz {

void SeedWriter::write(const std::string& target, const std::string& name, const Bytes& bytes) {
    const auto folder = folder_ / target;
    std::filesystem::create_directories(folder);
    std::ofstream file(folder / ("seed-" + name), std::ios::binary);
    file.write(reinterpret_cast<const char*>(bytes.get().data()),
               static_cast<std::streamsize>(bytes.get().size()));
    CHECK(file.good());
    ++count_;
}

}  // namespace remora::fuzz
