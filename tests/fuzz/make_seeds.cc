// SPDX-License-Identifier: Apache-2.0
// Writes the first inputs of the fuzz targets, built from the wire structures: sound conversations
// that mutations start from. `make_seeds FOLDER` makes a folder per target in FOLDER.
#include <cstdio>
#include <filesystem>
#include <fstream>

#include "tests/fuzz/support/seed_writer.h"

int main(int argc, char** argv) {
    if (argc != 2) {
        std::fprintf(stderr, "usage: %s FOLDER\n", argv[0]);
        return 2;
    }
    remora::fuzz::SeedWriter writer(argv[1]);
    remora::fuzz::write_target_seeds(writer);
    remora::fuzz::write_host_seeds(writer);
    remora::fuzz::write_virtio_seeds(writer);
    remora::fuzz::write_vfio_seeds(writer);
    remora::fuzz::write_text_seeds(writer);
    std::printf("%zu seeds\n", writer.count());
    return 0;
}
